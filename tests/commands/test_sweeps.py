"""Sweeps: jobs known by their hash, run once, told of in one place, whatever happens to them."""

import csv
import json
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from runs import (
    TINY,
    Command,
    Compose,
    leave_out_pictures,
    read_report,
    run_main,
    save_picture,
)

import miner
from miner.config.build import build_settings
from miner.config.job import Job, finished_psnr_db
from miner.engine.train import run_in_sweep
from miner.fitting.settings import FitSettings
from miner.support.errors import ConfigError, ImageError

pytestmark = pytest.mark.usefixtures("no_pictures")

SWEEP = ("-m", "hydra.sweep.dir=sweep")
COMPARISON = {"comparison.html", "comparison.md", "comparison.tsv"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over two seeds that has ended."""
    folder = tmp_path_factory.mktemp("swept")
    save_picture(folder / "picture.png")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        assert run_main(folder, *SWEEP, *TINY, "image.path=picture.png", "seed=0,1") == 0
    return folder / "sweep"


@pytest.fixture
def again(tmp_path: Path, swept: Path) -> Path:
    """The same sweep in the folder of this test, to be gone on with."""
    return Path(shutil.copytree(swept, tmp_path / "sweep"))


def jobs(sweep: Path) -> dict[str, Path]:
    """Folders of jobs by hash."""
    return {path.name.partition("-")[2]: path for path in sweep.glob("[0-9]*-*")}


def seeds(sweep: Path) -> dict[int, Path]:
    """Folders of the jobs that left a report, by seed."""
    ended = [folder for folder in jobs(sweep).values() if (folder / "report.json").exists()]
    return {read_report(folder)["seed"]: folder for folder in ended}


def planned(sweep: Path) -> list[dict[str, Any]]:
    return json.loads((sweep / "sweep.json").read_text())["jobs"]


def traces(folder: Path) -> tuple[bytes, int]:
    """A report's bytes and the moment it was written."""
    path = folder / "report.json"
    return path.read_bytes(), path.stat().st_mtime_ns


def compared(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "comparison.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def at_seed(monkeypatch: pytest.MonkeyPatch, seed: int, misfortune: Any) -> None:
    """Let something happen in the job of a seed, before it fits."""

    def build(config: DictConfig) -> FitSettings:
        if config.seed == seed:
            misfortune()
        return build_settings(config)

    monkeypatch.setattr("miner.engine.module.build_settings", build)


def fail() -> None:
    raise RuntimeError("out of\npaper")


def test_folders_are_named_by_number_and_hash(swept: Path) -> None:
    expected = {f"{seed}-{read_report(folder)['hash']}" for seed, folder in seeds(swept).items()}
    others = {*COMPARISON, "sweep.json", "multirun.yaml", ".lock"}
    assert {path.name for path in swept.iterdir()} == expected | others
    assert len(expected) == 2


def test_plan_lists_every_job_with_the_hash_of_its_folder(swept: Path) -> None:
    listed = planned(swept)
    assert [job["number"] for job in listed] == [0, 1]
    assert {job["hash"] for job in listed} == set(jobs(swept))
    for seed, job in enumerate(listed):
        assert f"seed={seed}" in job["overrides"]
        assert read_report(jobs(swept)[job["hash"]])["seed"] == seed


def test_job_leaves_what_a_single_run_leaves(swept: Path) -> None:
    (first, second) = jobs(swept).values()
    names = {path.name for path in first.iterdir()}
    assert {".hydra", "report.json", "representation", "run.log"} <= names
    assert names == {path.name for path in second.iterdir()}
    assert miner.load(first).render().shape == (3, 20, 24)


def test_comparison_has_a_row_for_every_job(swept: Path) -> None:
    rows = compared(swept)
    assert [(row["run"], row["seed"], row["status"]) for row in rows] == [
        (folder.name, str(seed), "finished") for seed, folder in sorted(seeds(swept).items())
    ]
    for row in rows:
        assert float(row["psnr_db"]) == read_report(swept / row["run"])["psnr_db"]


def test_hash_is_that_of_the_command_alone(tmp_path: Path, command: Command, swept: Path) -> None:
    assert command("hydra.run.dir=run", "seed=1").status == 0
    assert read_report(tmp_path / "run")["hash"] == read_report(seeds(swept)[1])["hash"]


def test_terminal_has_an_overview_and_no_wall_of_logs(tmp_path: Path, command: Command) -> None:
    outcome = command(*SWEEP, "seed=0,1")
    assert outcome.status == 0
    assert "2 of 2 jobs done, 0 running" in outcome.lines
    assert [line for line in outcome.lines if "level " in line or "PSNR" in line] == []
    assert len(outcome.lines) < 10
    for folder in jobs(tmp_path / "sweep").values():
        log = (folder / "run.log").read_text()
        assert "level 1" in log and "PSNR" in log


def test_same_sweep_again_runs_nothing(again: Path, command: Command) -> None:
    before = {name: traces(folder) for name, folder in jobs(again).items()}
    assert command(*SWEEP, "seed=0,1").status == 0
    assert {name: traces(folder) for name, folder in jobs(again).items()} == before


def test_larger_grid_runs_only_what_is_new(again: Path, command: Command) -> None:
    before = {folder: traces(folder) for folder in jobs(again).values()}
    assert command(*SWEEP, "seed=1,0", "pyramid=gaussian,laplacian").status == 0
    assert {folder: traces(folder) for folder in before} == before
    assert len(jobs(again)) == len(planned(again)) == len(compared(again)) == 4
    numbers = {job["hash"]: job["number"] for job in planned(again)}
    old = [numbers[folder.name.partition("-")[2]] for folder in before]
    assert sorted(old) == [0, 2]  # no longer 0 and 1


def test_smaller_grid_keeps_the_other_jobs(again: Path, command: Command) -> None:
    before = {name: traces(folder) for name, folder in jobs(again).items()}
    outcome = command(*SWEEP, "seed=1")
    assert outcome.status == 0
    assert "1 of 1 jobs done, 0 running" in outcome.lines
    assert {name: traces(folder) for name, folder in jobs(again).items()} == before


def test_moved_sweep_is_recognised(tmp_path: Path, again: Path, command: Command) -> None:
    again.rename(tmp_path / "moved")
    before = {name: traces(folder) for name, folder in jobs(tmp_path / "moved").items()}
    assert command("-m", "hydra.sweep.dir=moved", "seed=0,1").status == 0
    assert {n: traces(folder) for n, folder in jobs(tmp_path / "moved").items()} == before


def test_changed_image_is_fitted_anew(again: Path, command: Command, picture: Path) -> None:
    picture.write_bytes(picture.read_bytes() + b"trailer")
    assert command(*SWEEP, "seed=0,1").status == 0
    assert len(jobs(again)) == 4


def test_failed_job_stops_no_other_and_hides_nothing_and_is_run_again_alone(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_failed = tmp_path / "sweep"
    with monkeypatch.context() as patch:
        at_seed(patch, 1, fail)
        outcome = command(*SWEEP, "seed=0,1,2")
    assert outcome.status == 1
    assert "2 of 3 jobs done, 0 running, 1 failed" in outcome.lines
    assert "RuntimeError: out of paper" in outcome.output
    assert "Traceback" not in outcome.output
    check_what_a_failure_leaves(one_failed)
    folders = seeds(one_failed)
    before = {seed: traces(folders[seed]) for seed in (0, 2)}
    outcome = command(*SWEEP, "seed=0,1,2")
    assert outcome.status == 0
    assert "3 of 3 jobs done, 0 running" in outcome.lines
    assert read_report(folders[1])["status"] == "finished"
    assert {seed: traces(folders[seed]) for seed in (0, 2)} == before
    assert len(jobs(one_failed)) == 3


def check_what_a_failure_leaves(one_failed: Path) -> None:
    """Of three seeds, the second failed."""
    found = {seed: read_report(folder) for seed, folder in seeds(one_failed).items()}
    assert [found[seed]["status"] for seed in (0, 1, 2)] == ["finished", "failed", "finished"]
    assert found[1]["reason"] == "RuntimeError: out of paper"
    assert "seed=1" in found[1]["overrides"]
    assert found[1]["settings"]["config"]["seed"] == 1
    (row,) = [row for row in compared(one_failed) if row["seed"] == "1"]
    assert (row["status"], row["reason"]) == ("failed", "RuntimeError: out of paper")
    assert "out of paper" in (one_failed / "comparison.html").read_text()
    assert "Traceback" in (seeds(one_failed)[1] / "run.log").read_text()


def test_sweep_whose_comparison_cannot_be_written_fails(
    again: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("miner.loggers.sweep.write_comparison", full)
    outcome = command(*SWEEP, "seed=0,1")
    assert outcome.status == 1
    assert "no space left" in outcome.output


def test_image_that_goes_away_during_the_sweep_fails_its_jobs(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, picture: Path
) -> None:
    at_seed(monkeypatch, 0, picture.unlink)
    assert command(*SWEEP, "seed=0,1").status == 1
    found = [read_report(folder) for folder in jobs(tmp_path / "sweep").values()]
    assert sorted(report["status"] for report in found) == ["failed", "finished"]
    (failed,) = [report for report in found if report["status"] == "failed"]
    assert "'picture.png' does not exist" in failed["reason"]


@pytest.mark.parametrize("report", ["", '{"status": "finished"', "[]", '{"status": 1}'])
def test_report_that_is_none_is_of_no_finished_job(again: Path, report: str) -> None:
    folder = seeds(again)[0]
    assert finished_psnr_db(folder) is not None
    (folder / "report.json").write_text(report)
    assert finished_psnr_db(folder) is None


@pytest.mark.parametrize("report", [None, '{"status": "finished"'])
def test_job_that_was_cut_short_is_taken_up(
    again: Path, command: Command, report: str | None
) -> None:
    folder, other = seeds(again)[0], seeds(again)[1]
    before = traces(other)
    (folder / "report.json").unlink()
    if report is not None:
        (folder / "report.json").write_text(report)
    (folder / "representation" / "manifest.json").write_text("torn")
    (folder / "reconstruction.png").write_text("torn")
    assert command(*SWEEP, "seed=0,1").status == 0
    assert read_report(folder)["status"] == "finished"
    assert read_report(folder)["n_resumed_shards"] == 2
    assert miner.load(folder).render().shape == (3, 20, 24)
    assert traces(other) == before


def test_leftovers_that_are_links_are_removed_and_not_followed(
    tmp_path: Path, again: Path, command: Command
) -> None:
    folder = seeds(again)[0]
    (folder / "report.json").unlink()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (folder / "link").symlink_to(tmp_path / "kept")
    assert command(*SWEEP, "seed=0,1").status == 0
    assert (tmp_path / "kept" / "file").exists()
    assert not (folder / "link").exists()


def test_warning_in_a_job_goes_to_its_log(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_seed(monkeypatch, 1, lambda: warnings.warn("odd weather", stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        outcome = command(*SWEEP, "seed=0,1")
    assert (outcome.status, "odd weather" in outcome.output) == (0, False)
    logs = {seed: (f / "run.log").read_text() for seed, f in seeds(tmp_path / "sweep").items()}
    assert [seed for seed, log in logs.items() if "odd weather" in log] == [1]


def test_single_run_goes_into_no_sweep(again: Path, command: Command) -> None:
    folder = seeds(again)[0]
    outcome = command("-m", f"hydra.sweep.dir={folder.relative_to(again.parent)}", "seed=0,1")
    assert outcome.status == 1
    assert "holds a single run; name another folder" in outcome.output


def in_sweep(folder: Path, config: DictConfig) -> float | None:
    folder.mkdir(exist_ok=True)
    return run_in_sweep(config, Job(folder, (), time.time()))


def test_job_gives_its_objective_even_when_it_was_done_before(
    tmp_path: Path, tiny_config: Compose
) -> None:
    config = tiny_config("objective=psnr_at_bits")
    value = in_sweep(tmp_path / "job", config)
    before = traces(tmp_path / "job")
    assert value == read_report(tmp_path / "job")["objective"]
    assert in_sweep(tmp_path / "job", config) == value
    assert traces(tmp_path / "job") == before


@pytest.mark.parametrize("error", [RuntimeError, OSError, MemoryError, ConfigError, ImageError])
def test_failing_job_gives_nothing_and_raises_nothing(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, error: type
) -> None:
    def raise_it() -> None:
        raise error("out of paper")

    at_seed(monkeypatch, 0, raise_it)
    # Optuna's sweeper counts None as a failed trial; a NaN would end its whole search.
    assert in_sweep(tmp_path / "job", tiny_config()) is None
    assert read_report(tmp_path / "job")["reason"].endswith("out of paper")
