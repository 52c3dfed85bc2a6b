"""Names of images as people type them, and what is answered before torch is imported."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from runs import Command, read_report, save_picture, start_python

from miner.cli.arguments import quote_paths

HEAVY = {"torch", "pytorch_lightning", "wandb", "cv2", "matplotlib", "skimage", "pyvips"}
ODD_NAMES = ["two words", "a(1)", "it's", 'say "x"', "été 日本", "[x]", "a=b", "a,b", "{a}", "null"]
ODD_NAMES += ["5", "true", "a\nb", " a ", "#%&;$*?", "~draft", "a:b", "$", "''", "'", "a'b'"]
ODD_NAMES += ["${x}", "${", "${a:b,c}", "'${x}'", "${image.path}", "a\\", "\\'", "\\${x}"]
ODD_NAMES += ["???", os.fsdecode(b"\xff")]
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


def as_hydra_reads(argument: str) -> str:
    """Parse an override, merge it into a configuration and resolve that."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    config = OmegaConf.create({"image": {"path": "none"}})
    OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
    return OmegaConf.to_container(config, resolve=True)["image"]["path"]


def round_trip(name: str) -> str:
    """Quote the name of a file that exists, and read it as Hydra does."""
    try:
        Path(name).touch()
    except OSError:
        pytest.skip("this file system has no such names")
    try:
        (argument,) = quote_paths([f"image.path={name}"])
        return as_hydra_reads(argument)
    finally:
        Path(name).unlink()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_name_of_a_file_comes_through(folder: Path, name: str) -> None:
    assert round_trip(name) == name


@given(name=ANY_NAME)
@example("a\\b")
@example("$\\{")
@example("\\???")
def test_any_name_comes_through(folder: Path, name: str) -> None:
    assert round_trip(name) == name


def test_backslash_before_a_final_newline_comes_through(folder: Path) -> None:
    assert round_trip("a\\\n") == "a\\\n"


def test_home_is_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    file = folder / "it's (1).png"
    file.touch()
    (argument,) = quote_paths([f"image.path=~/{file.name}"])
    assert as_hydra_reads(argument) == str(file)


@pytest.mark.usefixtures("no_pictures")
def test_sweep_finds_a_file_with_an_odd_name(tmp_path: Path, command: Command) -> None:
    save_picture(tmp_path / "${seed}.png")
    assert command("-m", "seed=0,1", "image.path=${seed}.png", "hydra.sweep.dir=sweep").status == 0


@pytest.mark.parametrize(
    "argument",
    [
        "image.path=a.png,b.png",
        "image.path=sample:moon",
        "image.path=" + 5000 * "x",
        "image=moon",
        "-m",
    ],
)
def test_anything_else_is_left_as_it_is(folder: Path, argument: str) -> None:
    assert quote_paths([argument]) == [argument]


@pytest.mark.usefixtures("no_pictures")
def test_run_finds_a_file_with_an_odd_name(tmp_path: Path, command: Command) -> None:
    name = "it's (1), été = [x] ${seed}"
    save_picture(tmp_path / f"{name}.png")
    assert command(f"image.path={name}.png", "hydra.run.dir=run").status == 0
    assert read_report(tmp_path / "run")["image"] == name


def test_answers_need_no_heavy_import(tmp_path: Path) -> None:
    questions = ["--cfg=job", "patch_size=0", "image.path=missing.png", "pyramid=none", "a=1"]
    program = (
        "import sys, miner.run\n"
        f"for question in {questions}:\n"
        "    sys.argv = ['miner.run', question]\n"
        "    try: miner.run.main()\n"
        "    except SystemExit: pass\n"
        f"print('imported:', {HEAVY} & set(sys.modules))\n"
    )
    assert "imported: set()" in start_python(tmp_path, "-c", program).lines


def test_help_names_groups_and_options(tmp_path: Path) -> None:
    answer = start_python(tmp_path, "-m", "miner.run", "--help")
    assert answer.status == 0
    assert "pyramid: gaussian, laplacian" in answer.output
    assert not list(tmp_path.iterdir())
