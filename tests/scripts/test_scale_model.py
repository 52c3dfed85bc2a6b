"""The model of a very large image, from rows of results/."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from rows import ROOT, read_rows
from scale_model import duration, model


def test_the_model_of_100_gigapixels_follows_from_the_rows() -> None:
    rows = [read_rows(ROOT / "results" / name) for name in ("ranks.tsv", "memory.tsv")]
    values = [value for _, _, value in model(*rows, 100.0, 64, 8, 1.0)]
    assert values[:3] == ["22 min", "2 min", "3 s"]
    assert values[3:6] == ["13.4 h", "95 GiB, 758 a machine", "275 GB"]
    assert values[6:] == ["900 GB", "9.4 GB", "12.5 GB"]


@pytest.mark.parametrize(("seconds", "shown"), [(3, "3 s"), (90, "2 min"), (5400, "1.5 h")])
def test_durations_have_a_readable_unit(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
