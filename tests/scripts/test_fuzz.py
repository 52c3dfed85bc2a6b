"""Some of the inputs of scripts/fuzz.py, in this process; a failing number can be given to it."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from fuzz import (
    IMAGE_KINDS,
    MANIFEST,
    REPRESENTATION_DAMAGE,
    TARGETS,
    opened,
    outcome,
    resigned,
    shards,
    write,
)
from fuzz_corpus import Files, make_images, make_representations
from rows import ROOT, read_header, read_rows

IMAGES, REPRESENTATIONS = TARGETS["images"], TARGETS["representations"]


@pytest.fixture(scope="module")
def images() -> dict[str, list[Files]]:
    return make_images()


@pytest.fixture(scope="module")
def representations() -> list[Files]:
    return make_representations()


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("number", [0, len(IMAGE_KINDS)], ids=["memory", "file"])
def test_sound_images_open(
    images: dict[str, list[Files]], kind: str, number: int, tmp_path: Path
) -> None:
    for variant, files in enumerate(images[kind]):
        assert outcome(IMAGES, write(files, tmp_path / str(variant)), number) == "opened"


@pytest.mark.parametrize("kind", range(len(IMAGE_KINDS)), ids=IMAGE_KINDS)
@pytest.mark.filterwarnings("ignore")  # libraries may warn of what is damaged
def test_damaged_images_open_or_are_refused(
    images: dict[str, list[Files]], kind: int, tmp_path: Path
) -> None:
    for number in range(kind, 24 * len(IMAGE_KINDS), len(IMAGE_KINDS)):
        path = write(IMAGES.damage(number, images), tmp_path / str(number))
        assert outcome(IMAGES, path, number) in ("opened", "refused"), number


def test_sound_representations_render(representations: list[Files], tmp_path: Path) -> None:
    for number, files in enumerate(representations):
        assert outcome(REPRESENTATIONS, write(files, tmp_path / str(number))) == "opened"


def test_what_is_signed_again_is_as_sound_as_before(
    representations: list[Files], tmp_path: Path
) -> None:
    for number, files in enumerate(representations):
        for name in shards(files):
            tensors, metadata = opened(files[name])
            files = resigned(files, name, tensors, {**metadata, "x": "y"})
        assert outcome(REPRESENTATIONS, write(files, tmp_path / str(number))) == "opened"


@pytest.mark.filterwarnings("ignore")  # of numbers that overflow
def test_damaged_representations_render_or_are_refused(
    representations: list[Files], tmp_path: Path
) -> None:
    for number in range(15 * len(REPRESENTATION_DAMAGE)):
        path = write(REPRESENTATIONS.damage(number, representations), tmp_path / str(number))
        assert outcome(REPRESENTATIONS, path) in ("opened", "refused"), number


def test_a_cut_manifest_is_refused(representations: list[Files], tmp_path: Path) -> None:
    files = {**representations[0], MANIFEST: representations[0][MANIFEST][:-1]}
    assert outcome(REPRESENTATIONS, write(files, tmp_path / "cut")) == "refused"


@pytest.mark.parametrize("kind", REPRESENTATION_DAMAGE)
def test_damage_changes_files_and_leaves_its_arguments_alone(
    representations: list[Files], kind: str
) -> None:
    files, other = representations[:2]
    before, damage = dict(files), REPRESENTATION_DAMAGE[kind]
    changed = [damage(Random(seed), files, other) != before for seed in range(8)]
    assert sum(changed) >= 4
    assert files == before


def test_an_image_follows_from_its_number(images: dict[str, list[Files]]) -> None:
    for number in range(20):
        assert IMAGES.damage(number, images) == IMAGES.damage(number, images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "file"), [("images", "fuzz"), ("representations", "fuzz_representation")]
)
def test_a_row_counts_every_input_of_its_kind(target: str, file: str, tmp_path: Path) -> None:
    kinds, results = TARGETS[target].kinds, tmp_path / "rows.tsv"
    script = [sys.executable, ROOT / "scripts" / "fuzz.py", target, "--results", results]
    subprocess.run([*script, "--inputs", str(3 * len(kinds))], check=True)
    rows = read_rows(results)
    assert read_header(results) == read_header(ROOT / "results" / f"{file}.tsv")
    assert len(rows) == len(kinds)
    for row in rows:
        assert row["inputs"] == "3"
        assert (row["crashes"], row["hangs"]) == ("0", "0")


@pytest.mark.slow
def test_a_crash_and_a_hang_are_counted(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import fuzz\n"
        "def open_bad(path, number):\n"
        "    [lambda: None, os.abort, lambda: time.sleep(9), lambda: 1 / 0][number]()\n"
        "target = fuzz.Target('x', ['x'], dict, lambda n, c: {'': b'x'}, open_bad, OSError, 4, 1)\n"
        "print([fuzz.run(target, n, {}, pathlib.Path(sys.argv[2])) for n in range(4)])\n"
    )
    command = [sys.executable, "-c", program, ROOT / "scripts", tmp_path]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.endswith("['opened', 'crashes', 'hangs', 'crashes']\n")
    assert "ZeroDivisionError" in printed
