"""`python -m miner.render` writes what a run has stored, any level and any part."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import TINY, WITH_PICTURES, finish_run, run_main, save_picture, stop_at_shard

import miner
from miner.render import main
from miner.signals import regions


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish_run(tmp_path_factory.mktemp("rendered"))


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a picture with two links to it, and a run that drew all pictures."""
    folder = finish_run(tmp_path_factory.mktemp("pictured"), WITH_PICTURES).parent
    (folder / "link.png").symlink_to(folder / "picture.png")
    (folder / "hard.png").hardlink_to(folder / "picture.png")
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("name", ["out.tif", "out.png"])
def test_file_holds_what_the_report_was_written_from(run: Path, tmp_path: Path, name: str) -> None:
    assert main([str(run), str(tmp_path / name)]) == 0
    np.testing.assert_array_equal(pixels(tmp_path / name), pixels(run / "reconstruction.png"))
    assert main([str(run), str(tmp_path / name), "--overwrite", "--level", "1"]) == 0
    assert pixels(tmp_path / name).shape == (10, 12, 3)


@pytest.mark.parametrize("level", [0, 1])
def test_any_part_of_any_level(run: Path, tmp_path: Path, level: int) -> None:
    part = ["--level", str(level), "--region", "1:8", "3:12"]
    assert main([str(run), str(tmp_path / "out.png"), *part]) == 0
    expected = miner.load(run).render(level, ((1, 8), (3, 12)))
    expected = np.rint(255 * expected).astype(np.uint8).transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), expected)


@pytest.mark.parametrize("given", [["--scale", "2.5"], ["--size", "60", "50"]])
@pytest.mark.parametrize("level", [0, 1])
def test_another_size_is_the_networks_between_pixels(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], level: int
) -> None:
    tiles = regions.tiles
    monkeypatch.setattr("miner.representation.files.tiles", lambda sides: tiles(sides, 16))
    part = ["--region", "2:10", "0:12", "--level", str(level)]
    assert main([str(run), str(tmp_path / "out.png"), *part, *given]) == 0
    size = (20, 30) if given[0] == "--scale" else (50, 60)
    expected = miner.load(run).render(level, ((2, 10), (0, 12)), size=size)
    expected = np.rint(255 * expected).astype(np.uint8).transpose(1, 2, 0)
    np.testing.assert_array_equal(pixels(tmp_path / "out.png"), expected)


@pytest.mark.parametrize(("size", "is_said"), [("48 40", False), ("48 30", True), ("9 40", True)])
def test_a_size_of_another_ratio_is_said_to_stretch(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], size: str, is_said: bool
) -> None:
    assert main([str(run), str(tmp_path / "out.png"), "--size", *size.split()]) == 0
    assert ("times as wide as high" in "".join(capsys.readouterr())) == is_said


@pytest.mark.parametrize(
    "name", ["picture.png", "link.png", "hard.png", "run/error.png", "run/thumbnails/error.webp"]
)
def test_source_and_files_of_a_run_are_never_overwritten(
    pictured: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    before = (pictured / name).read_bytes()
    capsys.readouterr()
    assert main([str(pictured / "run"), str(pictured / name), "--overwrite"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    rule = "is the image or mask that was fitted, or a run's"
    assert line.endswith(f"{name}: {rule}; name another file")
    assert (pictured / name).read_bytes() == before


def test_a_fit_from_python_does_not_overwrite_its_source(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "picture.png")
    before = path.read_bytes()
    settings = {"patch_size": 8, "fitting.max_steps": 1, "model.width": 4}
    shown = miner.fit(path, progress=False, **settings)
    with pytest.raises(ValueError, match="is the image or mask that was fitted"):
        shown.render(out=path)
    assert path.read_bytes() == before


def test_tiles_and_a_scratch_file_give_the_same_pixels(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, tiles = tmp_path / "out.png", regions.tiles
    monkeypatch.setattr("miner.representation.files.tiles", lambda sides: tiles(sides, 8))
    monkeypatch.setattr("miner.representation.files.IN_MEMORY_BYTES", 0)
    miner.load(run).render(out=path)
    np.testing.assert_array_equal(pixels(path), pixels(run / "reconstruction.png"))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.tif", "--level", "2"], "level=2: must be 0 (full size) to 1"),
        (["out.tif", "--region", "0:5", "3:99"], "must lie within (20, 24)"),
        (["out.tif", "--region", "5:5", "3:4"], "must lie within"),
        (["out.docx"], "docx"),
        (["there.png"], "there already"),
        (["out.png", "--overwrite"], "no representation of blocks here"),
        (["out.png", "--scale", "2", "--size", "9", "9"], "give one of them"),
        (["out.png", "--scale", "0"], "scale=0.0: must be above 0"),
        (["out.png", "--scale", "nan"], "scale=nan: must be above 0"),
        (["out.png", "--size", "0", "5"], "size=[5, 0]: must be 2 sides of 1 to 2^31 - 1 pixels"),
        (["out.png", "--scale", "1e300"], "must be 2 sides of 1 to 2^31 - 1 pixels"),
        (["out.jpg", "--scale", "3000"], "jpg holds at most 65500 pixels a side"),
    ],
)
def test_wrong_arguments_get_one_line(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "there.png").write_text("precious")
    folder = tmp_path if "no representation" in message else run
    assert main([str(folder), str(tmp_path / arguments[0]), *arguments[1:]]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]


@pytest.mark.parametrize(
    ("n_levels", "status", "message"),
    [
        (1, 0, "level 0 is not fitted yet: this is level 1, enlarged"),
        (0, 1, "no level is finished yet"),
    ],
)
def test_stopped_run_shows_its_finished_levels(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    n_levels: int,
    status: int,
    message: str,
) -> None:
    stop_at_shard(monkeypatch, n_levels)  # a level has one shard
    save_picture(tmp_path / "picture.png")
    assert run_main(tmp_path, *TINY, "image.path=picture.png", "hydra.run.dir=run") == 130
    assert main([str(tmp_path / "run"), str(tmp_path / "out.png")]) == status
    assert message in "".join(capsys.readouterr())
    assert (tmp_path / "out.png").exists() == (n_levels > 0)
    assert n_levels == 0 or pixels(tmp_path / "out.png").std() > 10
