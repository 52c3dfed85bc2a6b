"""No file that a run or a sweep has not made is overwritten or removed by it."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from runs import WITH_PICTURES, Command, before_shards, finish_run, save_picture, stop_at_shard

import miner
from miner.compare import main as compare
from miner.support.errors import ConfigError
from miner.support.run_files import claim, write_report

RUN = ("hydra.run.dir=run", WITH_PICTURES)
OF_RUNS = ("run.log", "blocks.png", "representation/manifest.json", ".miner.json")
OF_RUNS_TOO = (
    *("report.json", "reconstruction.png", "error.png", "curves.png", "thumbnails/blocks.webp"),
    *("representation/level00-chunk00000.safetensors", ".miner-scratch/source.tif"),
)
OF_SWEEPS, OF_SWEEPS_TOO = ("sweep.json", "comparison.tsv"), ("multirun.yaml", "comparison.html")


def some_quickly(quick: Iterable[object], others: Iterable[object]) -> list[object]:
    """Cases of one list of names, of which the others are slow tests."""
    return [*quick, *(pytest.param(one, marks=pytest.mark.slow) for one in others)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with all pictures."""
    return finish_run(tmp_path_factory.mktemp("finished"), WITH_PICTURES)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it in the folder of this test."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def foreign(path: Path) -> Path:
    """Somebody's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    return path


def check_refused(folder: Path, path: Path, command: Command, *arguments: str) -> None:
    """The command names the file, or its folder, in one line, and changes nothing."""
    before = {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    outcome = command(*arguments)
    assert outcome.status == 1
    (line,) = outcome.lines
    assert line.startswith("error: ")
    assert str(path.relative_to(folder)) in line or path.parent.name in line
    assert {one: one.read_bytes() for one in folder.rglob("*") if one.is_file()} == before


@pytest.mark.parametrize("name", some_quickly(OF_RUNS, OF_RUNS_TOO))
def test_foreign_file_of_any_name_is_refused(tmp_path: Path, command: Command, name: str) -> None:
    check_refused(tmp_path, foreign(tmp_path / "run" / name), command, *RUN)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *[("run.log", Path.rename), ("blocks.png", os.symlink), ("run.log", os.link)],
        *[pytest.param("run.log", os.symlink, marks=pytest.mark.slow)],
        *[pytest.param("blocks.png", os.link, marks=pytest.mark.slow)],
        *(
            pytest.param(name, Path.rename, marks=pytest.mark.slow)
            for name in (*OF_RUNS[1:], *OF_RUNS_TOO)
            if "/" not in name
        ),
    ],
)
def test_source_and_links_to_it_are_refused(
    tmp_path: Path, command: Command, name: str, place: object
) -> None:
    source = save_picture(tmp_path / "source.png")
    place(source, tmp_path / name)  # type: ignore[operator]
    path = name if place is Path.rename else "source.png"
    given = ("hydra.run.dir=.", WITH_PICTURES, f"image.path={path}")
    check_refused(tmp_path, tmp_path / name, command, *given)


def test_image_among_the_files_of_an_earlier_run_is_refused(
    run: Path, tmp_path: Path, command: Command
) -> None:
    path = run / "reconstruction.png"
    given = ("image.path=run/reconstruction.png", "callbacks.checkpoint=null")
    for left in ("report.json", "representation"):
        check_refused(tmp_path, path, command, *RUN, *given)
        gone = run / left
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    check_refused(tmp_path, path, command, *RUN, given[0])


@pytest.mark.parametrize("name", ["blocks.png", "reconstruction.png"])
def test_somebodys_file_in_place_of_a_runs_own_is_refused(
    run: Path, tmp_path: Path, command: Command, name: str
) -> None:
    (run / "report.json").unlink()
    check_refused(tmp_path, foreign(run / name), command, *RUN)


@pytest.mark.parametrize("more", [(), ("callbacks.checkpoint=null",)])
def test_a_representation_that_somebody_has_saved_is_refused(
    finished: Path, tmp_path: Path, command: Command, more: tuple[str, ...]
) -> None:
    path = miner.load(finished).save(tmp_path / "saved" / "representation")
    check_refused(tmp_path, path, command, "hydra.run.dir=saved", *more)


def test_what_is_left_out_refuses_nothing(tmp_path: Path, command: Command) -> None:
    path = foreign(tmp_path / "run" / "blocks.png")
    assert command("hydra.run.dir=run").status == 0
    assert path.read_bytes() == b"mine"


def test_callback_that_writes_elsewhere_refuses_what_is_there(
    tmp_path: Path, command: Command
) -> None:
    path = foreign(tmp_path / "elsewhere" / "reconstruction.png")
    given = f"callbacks.reconstruction.dirpath={path.parent}"
    check_refused(tmp_path, path, command, *RUN, given)


@pytest.mark.parametrize("name", ["reconstruction.png"])
def test_file_that_came_while_a_run_was_stopped_is_refused(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patch:
        stop_at_shard(patch, 1)
        assert command(*RUN).status == 130
    path = foreign(tmp_path / "run" / name)
    check_refused(tmp_path, path, command, *RUN)
    path.unlink()
    if path.parent.name == "thumbnails":
        path.parent.rmdir()
    assert command(*RUN).status == 0


def test_log_that_has_become_a_link_is_refused(run: Path, tmp_path: Path, command: Command) -> None:
    (run / "report.json").unlink()
    (run / "run.log").unlink()
    (run / "run.log").symlink_to(tmp_path / "picture.png")
    check_refused(tmp_path, run / "run.log", command, "hydra.run.dir=run")


def test_file_that_comes_during_a_run_is_kept_and_the_run_can_be_resumed(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run" / "reconstruction.png"
    with monkeypatch.context() as patch:
        before_shards(patch, lambda n_before, shard: foreign(path))
        outcome = command("hydra.run.dir=run")
    assert outcome.status == 1
    assert "reconstruction.png: would be overwritten" in outcome.lines[-1]
    assert path.read_bytes() == b"mine"
    path.unlink()
    assert command("hydra.run.dir=run").status == 0


@pytest.mark.parametrize("name", some_quickly(OF_SWEEPS, OF_SWEEPS_TOO))
def test_foreign_file_is_refused_by_a_sweep_and_a_comparison(
    run: Path, tmp_path: Path, command: Command, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = foreign(tmp_path / "sweep" / name)
    check_refused(tmp_path, path, command, "-m", "hydra.sweep.dir=sweep", "seed=0,1")
    capsys.readouterr()
    assert compare([str(run), "--out", str(path.parent)]) == int(name.startswith("comparison"))
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("name", some_quickly(["report.json"], ["representation/manifest.json"]))
def test_foreign_file_in_a_jobs_folder_is_refused_before_the_sweep_starts(
    tmp_path: Path, command: Command, name: str
) -> None:
    sweep = ("-m", "hydra.sweep.dir=sweep", "seed=0,1")
    assert command(*sweep).status == 0
    job = next((tmp_path / "sweep").glob("1-*"))
    shutil.rmtree(job)
    check_refused(tmp_path, foreign(job / name), command, *sweep)


def test_a_comparison_replaces_its_own(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        assert compare([str(run), "--out", str(out)]) == 0


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"made": 3}', "\x00"])
def test_list_of_another_kind_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / ".miner.json").write_text(content)
    with pytest.raises(ConfigError, match=r"miner\.json: cannot be read as the list"):
        claim(tmp_path, "report.json")


def test_report_of_a_failure_overwrites_nothing(tmp_path: Path) -> None:
    path = foreign(tmp_path / "report.json")
    with pytest.raises(ConfigError, match=r"report\.json: would be overwritten"):
        write_report(tmp_path, {"status": "failed"})
    assert path.read_bytes() == b"mine"
