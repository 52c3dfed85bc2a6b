"""Some of the inputs of scripts/fuzz.py, in this process; a failing number can be given to it."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from fuzz import IMAGE_KINDS, REPRESENTATION_KINDS, TARGETS, in_shard, outcome, write
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
def test_valid_images_open(
    images: dict[str, list[Files]], kind: str, number: int, tmp_path: Path
) -> None:
    for variant, files in enumerate(images[kind]):
        assert outcome(IMAGES, write(files, tmp_path / str(variant)), number) == "opened"


@pytest.mark.parametrize("kind", range(len(IMAGE_KINDS)), ids=IMAGE_KINDS)
@pytest.mark.filterwarnings("ignore")  # libraries may warn of damage
def test_damaged_images_open_or_are_refused(
    images: dict[str, list[Files]], kind: int, tmp_path: Path
) -> None:
    for number in range(kind, 24 * len(IMAGE_KINDS), len(IMAGE_KINDS)):
        path = write(IMAGES.damage(number, images), tmp_path / str(number))
        assert outcome(IMAGES, path, number) in ("opened", "refused"), number


def test_valid_representations_render_also_with_new_checksums(
    representations: list[Files], tmp_path: Path
) -> None:
    for number, files in enumerate(representations):
        assert outcome(REPRESENTATIONS, write(files, tmp_path / str(number))) == "opened"
        signed = in_shard(lambda _, tensors, metadata: metadata.update(x="y"), Random(0), files, {})
        assert signed != files
        assert outcome(REPRESENTATIONS, write(signed, tmp_path / f"{number}-signed")) == "opened"


@pytest.mark.filterwarnings("ignore")  # of numbers that overflow
def test_damaged_representations_render_or_are_refused(
    representations: list[Files], tmp_path: Path
) -> None:
    for number in range(19 * len(REPRESENTATION_KINDS)):
        path = write(REPRESENTATIONS.damage(number, representations), tmp_path / str(number))
        assert outcome(REPRESENTATIONS, path) in ("opened", "refused"), number


@pytest.mark.parametrize("name", TARGETS)
def test_damage_changes_files_and_not_the_corpus(name: str, request: pytest.FixtureRequest) -> None:
    target, corpus = TARGETS[name], request.getfixturevalue(name)
    before = repr(corpus)
    for kind, kind_name in enumerate(target.kinds):
        numbers = range(kind, 8 * len(target.kinds), len(target.kinds))
        valid = corpus[kind_name] if isinstance(corpus, dict) else corpus
        assert sum(target.damage(number, corpus) not in valid for number in numbers) >= 4
    assert repr(corpus) == before


def test_an_image_follows_from_its_number(images: dict[str, list[Files]]) -> None:
    for number in range(20):
        assert IMAGES.damage(number, images) == IMAGES.damage(number, images)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_row_counts_every_input_of_its_kind(target: str, tmp_path: Path) -> None:
    kinds, results = TARGETS[target].kinds, tmp_path / "rows.tsv"
    script = [sys.executable, ROOT / "scripts" / "fuzz.py", target, "--results", results]
    subprocess.run([*script, "--inputs", str(3 * len(kinds))], check=True)
    rows = read_rows(results)
    assert read_header(results) == read_header(ROOT / "results" / TARGETS[target].file)
    assert [(row["inputs"], row["crashes"], row["hangs"]) for row in rows] == [
        ("3", "0", "0") for _ in kinds
    ]


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
