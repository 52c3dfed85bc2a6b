"""Every kind of TIFF reads as the standard says, or is refused in a line that names the reason."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import pyvips
from corpus import Cell, draw, write
from corpus_table import MORE_REASONS, REASONS, cells, covering, is_read_by_libvips, pixels, reasons
from image_files import complaint

from miner.images.source import open_file
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

ALL = cells()
N_CELLS, N_REFUSED = 6746, 2352
FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"
QUICK_AND_ALL = pytest.mark.parametrize(
    "chosen", [covering(ALL), pytest.param(ALL, marks=pytest.mark.slow)], ids=["pairs", "all"]
)


def read(path: Path) -> np.ndarray:
    opened = open_file(str(path))
    values = opened.load(whole(opened.sides), Scratch(None))((slice(None), slice(None)))
    assert (values.shape, values.dtype) == ((*opened.sides, opened.n_channels), opened.dtype)
    return values


def difference(cell: Cell, found: np.ndarray, expected: np.ndarray) -> str:
    """What differs, if anything does: JPEG loses a little, and conversions round."""
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return f"{found.shape} {found.dtype}, not {expected.shape} {expected.dtype}"
    most = {"JPEG": 3}.get(cell.codec, int(cell.kind == "CIELAB"))
    worst = np.abs(found.astype(np.float64) - expected).max()
    return "" if worst <= most else f"off by {worst}"


@QUICK_AND_ALL
def test_cells_read_as_the_standard_says_or_are_refused(tmp_path: Path, chosen: list[Cell]) -> None:
    path, wrong, n_refused, told = tmp_path / "a.tif", [], 0, Counter[str]()
    for cell in chosen:
        samples, why = draw(cell), reasons(cell)
        write(path, cell, samples)
        try:
            found = read(path)
            problem = (
                f"is read, though {why}" if why else difference(cell, found, pixels(cell, samples))
            )
        except ImageError as error:
            n_refused += 1
            said = [reason for reason in why if reason in str(error)]
            told.update(said[:1])
            problem = "" if said and "\n" not in str(error) else str(error)
        wrong += [f"{cell}: {problem}"] if problem else []
    print(f"{len(chosen)} cells, {n_refused} refused: {dict(told)}")
    assert wrong[:10] == []
    assert set(told) == set(REASONS)  # each says why at least once
    assert chosen is not ALL or (len(chosen), n_refused) == (N_CELLS, N_REFUSED)


@QUICK_AND_ALL
def test_another_reader_finds_the_same(tmp_path: Path, chosen: list[Cell]) -> None:
    same, wrong = 0, []
    for n, cell in enumerate(chosen):
        if reasons(cell) or not is_read_by_libvips(cell):
            continue
        write(path := tmp_path / f"{n}.tif", cell, draw(cell))
        try:
            other = pyvips.Image.new_from_file(str(path), fail_on="error")
            if other.interpretation in ("cmyk", "lab", "labs"):
                other = other.colourspace("rgb16" if other.format == "ushort" else "srgb")
            values = np.atleast_3d(other.numpy())
        except pyvips.Error:  # four channels in JPEG that are not CMYK
            continue
        found = read(path)
        problem = difference(cell, found, values.astype(found.dtype))
        wrong += [f"{cell}: {problem}"] if problem else []
        same += not problem
        path.unlink()
    print(f"{same} cells read alike by libvips")
    assert wrong[:10] == []
    assert same >= (500 if chosen is ALL else 30)


def test_the_table_has_thousands_of_cells_and_refuses_what_is_counted() -> None:
    n_refused = sum(bool(reasons(cell)) for cell in ALL)
    assert (len(ALL), n_refused) == (N_CELLS, N_REFUSED)
    assert len(set(map(str, ALL))) == N_CELLS


def test_other_tags_are_refused_by_name(tmp_path: Path) -> None:
    for reason, (cell, tags) in MORE_REASONS.items():
        write(path := tmp_path / "a.tif", cell, draw(cell), **tags)
        assert reason in complaint(path), reason


def test_documented_refusals_are_those_of_the_table() -> None:
    text = FORMATS.read_text()
    section = text.split("### What is refused of TIFF")[1].split("\n#")[0]
    rows = [row.split("|")[1].strip() for row in section.splitlines() if row.startswith("| `")]
    assert {word for row in rows for word in row.strip("`").split("`, `")} == {
        *REASONS, *MORE_REASONS, "cannot be decoded", "cut short",
    }  # fmt: skip
    for count in (N_CELLS, N_REFUSED, N_CELLS - N_REFUSED):
        assert f"{count:,}" in text
