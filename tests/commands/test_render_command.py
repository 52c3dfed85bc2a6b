"""`python -m miner.render` writes what a run has stored, any level and any part."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import TINY, run_main, save_picture

import miner
from miner.fitting.level_fit import LevelFit
from miner.render import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    save_picture(folder / "picture.png")
    assert run_main(folder, *TINY, "image.path=picture.png", "hydra.run.dir=run") == 0
    return folder / "run"


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def bytes_of(unit: np.ndarray) -> np.ndarray:
    return np.rint(255 * unit).astype(np.uint8).transpose(1, 2, 0)


@pytest.mark.parametrize("name", ["out.tif", "out.png"])
def test_file_holds_what_the_report_was_written_from(run: Path, tmp_path: Path, name: str) -> None:
    assert main([str(run), str(tmp_path / name)]) == 0
    np.testing.assert_array_equal(pixels(tmp_path / name), pixels(run / "reconstruction.png"))


@pytest.mark.parametrize("level", [0, 1])
def test_any_part_of_any_level(run: Path, tmp_path: Path, level: int) -> None:
    part = ["--level", str(level), "--region", "1:8", "3:12"]
    assert main([str(run), str(tmp_path / "out.png"), *part]) == 0
    expected = miner.load(run).render(level, ((1, 8), (3, 12)))
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), bytes_of(expected))


def test_tiles_and_a_file_for_scratch_do_not_show(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miner.render._IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("miner.signals.regions.tiles.__defaults__", (8,))
    assert main([str(run), str(tmp_path / "out.png")]) == 0
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), pixels(run / "reconstruction.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.tif", "--level", "2"], "--level 2: must be 0 (full size) to 1"),
        (["out.tif", "--region", "0:5", "3:99"], "must lie within (20, 24)"),
        (["out.tif", "--region", "5:5", "3:4"], "must lie within"),
        (["out.docx"], "docx"),
        (["there.png"], "there already"),
    ],
)
def test_mistakes_get_one_line(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "there.png").write_text("precious")
    assert main([str(run), str(tmp_path / arguments[0]), *arguments[1:]]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]


def test_file_that_is_there_is_replaced_when_asked(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out.png").write_text("old")
    assert main([str(run), str(tmp_path / "out.png"), "--overwrite"]) == 0
    assert pixels(tmp_path / "out.png").shape == (20, 24, 3)


def test_folder_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), str(tmp_path / "out.png")]) == 1
    assert "no representation here" in capsys.readouterr().err


def stop_at(n_chunks: int, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A run that is stopped by Ctrl-C after so many chunks, of one level each."""
    done, fit_chunk = [], LevelFit.fit_chunk

    def stopping(self: LevelFit, *arguments: object) -> object:
        if len(done) == n_chunks:
            raise KeyboardInterrupt
        done.append(arguments)
        return fit_chunk(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LevelFit, "fit_chunk", stopping)
    save_picture(folder / "picture.png")
    assert run_main(folder, *TINY, "image.path=picture.png", "hydra.run.dir=run") == 130


def test_stopped_run_shows_its_finished_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(1, monkeypatch, tmp_path)
    assert main([str(tmp_path / "run"), str(tmp_path / "out.png")]) == 0
    assert "level 0 is not fitted yet: this is level 1, enlarged" in capsys.readouterr().out
    assert pixels(tmp_path / "out.png").std() > 10


def test_run_without_a_finished_level_has_nothing_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(0, monkeypatch, tmp_path)
    assert main([str(tmp_path / "run"), str(tmp_path / "out.png")]) == 1
    assert "no level is finished yet" in capsys.readouterr().err
