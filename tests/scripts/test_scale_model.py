"""The model of a very large image, from rows of results/."""

import pytest
from rows import ROOT, read_rows
from scale_model import duration, model


def test_the_model_of_100_gigapixels_follows_from_the_rows() -> None:
    rows = [read_rows(ROOT / "results" / name) for name in ("ranks.tsv", "memory.tsv")]
    values = [value for _, _, value in model(*rows, 100.0, 64)]
    assert values == ["22 min", "2 min", "7 min", "62 GiB", "275 GB", "900 GB", "12.5 GB"]


@pytest.mark.parametrize(("seconds", "shown"), [(3, "3 s"), (90, "2 min"), (5400, "1.5 h")])
def test_durations_have_a_readable_unit(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
