"""Arguments as people type them: flags anywhere, null, images of any name, folders, patterns."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from runs import Command, read_report, save_picture, start_python

from miner.cli.arguments import expand_arguments, write_images
from miner.support.errors import ConfigError, ImageError
from miner.support.run_files import claim

ODD_NAMES = ["two words", "a(1)", "it's", 'say "x"', "été 日本", "[x]", "a=b", "a,b", "${seed}"]
ODD_NAMES += ["{a}", "null", "5", "true", "a\nb", " a ", "#%&;$*?", "~draft", "a:b"]
ODD_NAMES += ["$", "''", "'", "a'b'", "${x}", "${", "${a:b,c}", "'${x}'", "${image.path}", "a\\"]
ODD_NAMES += ["\\'", "\\${x}", "???", "a\\\n", os.fsdecode(b"\xff")]
ANY_NAME = st.text(
    st.one_of(
        st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]),
        st.sampled_from("\\'\"${}[]()=,~: \n"),
    ),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in (".", ".."))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make an empty folder the current one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("names"))
        yield Path.cwd()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder with two images."""
    (tmp_path / "album").mkdir()
    for name in ("b.png", "a.png"):
        save_picture(tmp_path / "album" / name)
    return tmp_path / "album"


def as_hydra_reads(argument: str) -> list[str]:
    """The values of `image.path`, parsed, merged into a configuration and resolved."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    if override.is_sweep_override():
        lines = [f"image.path={value}" for value in override.sweep_string_iterator()]
        return [value for line in lines for value in as_hydra_reads(line)]
    config = OmegaConf.create({"image": {"path": "none"}, "seed": 5})
    OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return [OmegaConf.to_container(config, resolve=True)["image"]["path"]]


def found(argument: str, flag: str = "-m") -> list[str]:
    """The paths of the images of an argument of a sweep."""
    _, written, *_ = write_images([flag, f"image.path={argument}"])
    return as_hydra_reads(written)


def in_folder(folder: Path, names: Sequence[str]) -> list[str]:
    return [str(folder / name) for name in names]


def check_any_name(name: str) -> None:
    """Quote the name of a file that exists, and read it as Hydra does."""
    try:
        Path(name).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    try:
        (argument,) = write_images([f"image.path={name}"])
        assert as_hydra_reads(argument) == [name]
    finally:
        Path(name).unlink()


@pytest.mark.parametrize("name", [*ODD_NAMES, "a\\b", "$\\{", "\\???"])
def test_odd_name_of_a_file_is_read_as_it_is(folder: Path, name: str) -> None:
    check_any_name(name)


@given(name=ANY_NAME)
def test_any_name_of_a_file_is_read_as_it_is(folder: Path, name: str) -> None:
    check_any_name(name)


def test_home_is_expanded(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(album.parent))
    for typed in ("~/album", "~/album/*"):
        assert found(typed) == in_folder(album, ["a.png", "b.png"])
    (argument,) = write_images(["image.path=~/album/a.png"])
    assert as_hydra_reads(argument) == in_folder(album, ["a.png"])


@pytest.mark.parametrize("flag", ["-m", "--multirun", "hydra.mode=MULTIRUN"])
def test_folder_is_all_its_images_in_order(album: Path, flag: str) -> None:
    assert found(str(album), flag) == in_folder(album, ["a.png", "b.png"])


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        *((pattern, ["[a].png", "b.png"]) for pattern in ("*.png", "[[b]*", "?*.png", "*")),
        ("b*", ["b.png"]),
        ("../*/b.png", ["b.png"]),
        ("[a].png", ["[a].png"]),  # a file that looks like a pattern
    ],
)
def test_pattern_is_all_images_that_it_matches(album: Path, pattern: str, names: list[str]) -> None:
    (album / "a.png").rename(album / "[a].png")
    paths = [Path(path).resolve() for path in found(f"{album}/{pattern}")]
    assert paths == [(album / name).resolve() for name in names]


def test_files_that_are_no_images_are_left_out_with_a_warning(
    album: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (album / "notes.txt").write_text("no image")
    (album / "empty.png").touch()
    save_picture(album / ".hidden.png")  # silently
    (album / "deeper").mkdir()
    save_picture(album / "deeper" / "c.png")
    with caplog.at_level(logging.WARNING):
        assert found(str(album)) == in_folder(album, ["a.png", "b.png"])
    first, second = sorted(record.getMessage() for record in caplog.records)
    assert "empty.png' is not an image" in first and "notes.txt' is not an image" in second


def test_what_runs_have_made_is_left_out(
    album: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    claim(album, "reconstruction.*", "run.log", "thumbnails")
    for name in ("reconstruction.png", "thumbnails/error.png"):
        (album / name).parent.mkdir(exist_ok=True)
        save_picture(album / name)
    assert found(str(album)) == in_folder(album, ["a.png", "b.png"])
    (record,) = caplog.records
    assert (
        record.getMessage() == f"left out: 1 of the files in {str(album)!r}, which runs have made"
    )
    with pytest.raises(ImageError, match="holds no image"):
        found(f"{album}/thumbnails")


def test_warning_reaches_the_terminal(album: Path) -> None:
    (album / "notes.txt").write_text("no image")
    program = "from miner.cli.arguments import write_images as w; w(['-m', 'image.path=album'])"
    (line,) = start_python(album.parent, "-c", program).lines
    assert "left out: 'album/notes.txt'" in line


@pytest.mark.parametrize("pattern", ["", "/*.txt", "/empty"])
def test_no_image_is_refused(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no image: name a folder or a pattern"):
        found(f"{tmp_path}{pattern}")


@pytest.mark.parametrize(
    "argument",
    [
        "image.path=a.png,b.png",
        "image.path=sample:moon,sample:camera",
        "image.path=missing/*.png",
        "image.path=" + 5000 * "x",
        "image=moon,camera",
        "seed=0,1",
    ],
)
def test_other_arguments_stay_as_they_are(album: Path, argument: str) -> None:
    assert write_images(["-m", argument]) == ["-m", argument]
    assert write_images([argument]) == [argument]


def test_folder_is_one_sweep_with_a_job_for_each_name(
    album: Path, tmp_path: Path, command: Command
) -> None:
    odd = "it's a, ${x} (1)"
    (album / "b.png").rename(album / f"{odd}.png")
    (album / "notes.txt").write_text("no image")
    assert command("-m", "image.path=album", "hydra.sweep.dir=sweep").status == 0
    reports = [read_report(path) for path in (tmp_path / "sweep").glob("[01]-*")]
    assert sorted(report["image"] for report in reports) == ["a", odd]  # of the same content


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files and two folders, in which the arguments are typed."""
    for name in ("photo.jpg", "b (1).png", "a=b.png"):
        (tmp_path / name).touch()
    for name in ("mine", "mine=1", "array.zarr"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["photo.jpg"], ["image.path=photo.jpg"]),
        (["array.zarr", "seed=1"], ["seed=1", "image.path=array.zarr"]),
        (["a=b.png", "mine=1"], ["mine=1", "image.path=a=b.png"]),
        (["photo.jpg", "--cfg", "job"], ["--cfg", "job", "image.path=photo.jpg"]),
        (["seed=1", "--config-dir", "mine"], ["--config-dir", "mine", "seed=1"]),
        (["seed=0,1", "-m", "mine"], ["-m", "seed=0,1", "image.path=mine"]),
        (["-m", "photo.jpg", "b (1).png"], ["-m", "image.path='photo.jpg','b (1).png'"]),
        (["missing.jpg", "seed=photo.jpg"], ["missing.jpg", "seed=photo.jpg"]),
        (["logger=null"], ["logger=none"]),
        (["logger=[csv,null]", "callbacks=[null]"], ["logger=[csv]", "callbacks=none"]),
        (["logger=[]"], ["logger=none"]),
        (["-m", "logger=null,csv"], ["-m", "logger=none,csv"]),
        (["logger=[wandb,csv]"], ["logger=[wandb,csv]"]),
        (["experiment=null", "debug=Null"], ["experiment=[]", "debug=[]"]),
        (["-m", "experiment=null,fast"], ["-m", "experiment=[],fast"]),
        (["pyramid=null", "pyramid=False,3"], ["pyramid='null'", "pyramid='False','3'"]),
        (["image.crop_px=null", "+seed=null"], ["image.crop_px=null", "+seed=null"]),
    ],
    ids=str,
)
def test_flags_come_first_and_images_and_null_are_written_in_full(
    desk: Path, typed: list[str], read: list[str]
) -> None:
    assert expand_arguments(typed) == read


def test_one_run_fits_one_image(desk: Path) -> None:
    with pytest.raises(ConfigError, match=r"^photo\.jpg b \(1\)\.png: .* add -m"):
        expand_arguments(["photo.jpg", "b (1).png"])
