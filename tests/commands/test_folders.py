"""A folder or a pattern of images is one sweep."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from runs import Command, read_report, save_picture, start_python

from miner.cli.arguments import expand_folders, quote_paths
from miner.support.errors import ImageError

pytestmark = pytest.mark.usefixtures("no_pictures")

ODD_NAMES = ["two words", "a,b", "it's", 'say "x"', "${seed}", "[x]", "a=b", "a(1)", "été 日本"]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with two images."""
    (tmp_path / "album").mkdir()
    for name in ("b.png", "a.png"):
        save_picture(tmp_path / "album" / name)
    return tmp_path / "album"


def expand(argument: str) -> str:
    _, expanded = expand_folders(["-m", f"image.path={argument}"])
    return expanded


def as_hydra_reads(argument: str) -> list[str]:
    """The values of a sweep over `image.path`, as they arrive in jobs."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    if override.is_sweep_override():
        lines = [f"image.path={value}" for value in override.sweep_string_iterator()]
    else:
        lines = [argument]
    return [resolved(line) for line in lines]


def resolved(line: str) -> str:
    (override,) = OverridesParser.create().parse_overrides([line])
    config = OmegaConf.create({"image": {"path": override.value()}, "seed": 5})
    return config.image.path


def found(argument: str) -> list[str]:
    """Where the images lie that an argument stands for, quoted for Hydra as the command does."""
    (quoted,) = quote_paths([expand(argument)])
    return as_hydra_reads(quoted)


def in_folder(folder: Path, names: Sequence[str]) -> list[str]:
    return [str(folder / name) for name in names]


@pytest.mark.parametrize("flag", ["-m", "--multirun", "hydra.mode=MULTIRUN"])
def test_folder_is_all_its_images_in_order(album: Path, flag: str) -> None:
    kept, expanded, last = expand_folders([flag, f"image.path={album}", "seed=0"])
    assert (kept, last) == (flag, "seed=0")
    assert as_hydra_reads(expanded) == in_folder(album, ["a.png", "b.png"])


@pytest.mark.parametrize("pattern", ["*.png", "[ab].*", "?.png", "*"])
def test_pattern_is_all_that_it_matches(album: Path, pattern: str) -> None:
    assert found(f"{album}/{pattern}") == in_folder(album, ["a.png", "b.png"])


def test_pattern_may_match_one_image(album: Path) -> None:
    assert found(f"{album}/a*") == in_folder(album, ["a.png"])


def test_pattern_may_go_through_folders(album: Path) -> None:
    assert found(f"{album.parent}/*/a.png") == in_folder(album, ["a.png"])


def test_folder_of_one_image_is_that_image(album: Path) -> None:
    (album / "b.png").unlink()
    assert found(str(album)) == in_folder(album, ["a.png"])


def test_home_is_expanded(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(album.parent))
    for typed in ("~/album", "~/album/*"):
        assert found(typed) == in_folder(album, ["a.png", "b.png"])


@pytest.mark.parametrize("name", ODD_NAMES)
def test_image_with_an_odd_name_comes_through(album: Path, name: str) -> None:
    (album / "b.png").rename(album / f"{name}.png")
    assert sorted(found(str(album))) == sorted(in_folder(album, ["a.png", f"{name}.png"]))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_folder_with_an_odd_name_comes_through(album: Path, name: str) -> None:
    odd = album.rename(album.with_name(name))
    assert found(str(odd)) == in_folder(odd, ["a.png", "b.png"])


def test_file_that_looks_like_a_pattern_is_that_file(album: Path) -> None:
    (album / "a.png").rename(album / "[b].png")
    assert found(f"{album}/[b].png") == in_folder(album, ["[b].png"])


def test_what_is_no_image_is_left_out_with_a_warning(
    album: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (album / "notes.txt").write_text("no image")
    (album / "empty.png").touch()
    with caplog.at_level(logging.WARNING):
        assert found(str(album)) == in_folder(album, ["a.png", "b.png"])
    messages = sorted(record.getMessage() for record in caplog.records)
    assert len(messages) == 2
    assert "empty.png' is empty" in messages[0] and "notes.txt' is not an image" in messages[1]


def test_warning_reaches_the_terminal(album: Path) -> None:
    (album / "notes.txt").write_text("no image")
    program = "from miner.cli.arguments import expand_folders as e; e(['-m', 'image.path=album'])"
    (line,) = start_python(album.parent, "-c", program).lines
    assert "left out: 'album/notes.txt'" in line


def test_hidden_files_and_folders_are_left_out_silently(
    album: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_picture(album / ".hidden.png")
    (album / "deeper").mkdir()
    save_picture(album / "deeper" / "c.png")
    assert found(str(album)) == in_folder(album, ["a.png", "b.png"])
    assert caplog.records == []


@pytest.mark.parametrize("pattern", ["", "/*.txt"])
def test_no_image_is_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ImageError, match="holds no image: name a folder or a pattern"):
        expand(f"{tmp_path}{pattern}")


def test_only_a_sweep_takes_folders(album: Path) -> None:
    arguments = [f"image.path={album}", "seed=0"]
    assert expand_folders(arguments) == arguments


@pytest.mark.parametrize(
    "argument",
    [
        "image.path=a.png,b.png",
        "image.path=sample:moon,sample:camera",
        "image.path=missing/*.png",
        "image.path=" + 5000 * "x",
        "image.path=a\0b",
        "image=moon,camera",
        "seed=0,1",
    ],
)
def test_anything_else_is_left_as_it_is(argument: str) -> None:
    assert expand_folders(["-m", argument]) == ["-m", argument]


def test_folder_is_one_sweep(album: Path, tmp_path: Path, command: Command) -> None:
    odd = "it's a, ${seed} (1)"
    (album / "b.png").rename(album / f"{odd}.png")
    (album / "notes.txt").write_text("no image")
    assert command("-m", "image.path=album", "hydra.sweep.dir=sweep").status == 0
    reports = [read_report(path) for path in (tmp_path / "sweep").glob("[01]-*")]
    assert sorted(report["image"] for report in reports) == ["a", odd]
    assert len(json.loads((tmp_path / "sweep" / "sweep.json").read_text())["jobs"]) == 2


def test_images_of_one_content_are_jobs_of_their_own(
    album: Path, tmp_path: Path, command: Command
) -> None:
    assert (album / "a.png").read_bytes() == (album / "b.png").read_bytes()
    assert command("-m", "image.path=album/*", "hydra.sweep.dir=sweep").status == 0
    assert len(list((tmp_path / "sweep").glob("[01]-*/report.json"))) == 2
