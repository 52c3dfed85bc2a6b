"""Runs that are killed end as runs that are not."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from kill_runs import PLACES, try_all


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    rows = try_all(tmp_path, n_trials=2, n_kills=2)
    assert [row["identical"] for row in rows] == [row["trials"] for row in rows]
    assert len(rows) == len(PLACES) + 1
    assert all(int(row["kills"]) >= 1 for row in rows)
