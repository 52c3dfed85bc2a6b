"""Blocks are put together by equal rows, with and without sorting them."""

import pytest
import torch

from miner.representation.render import by_row

ROWS = {
    "none": torch.empty(0, 2, dtype=torch.long),
    "one": torch.tensor([[4, 2]]),
    "equal": torch.tensor([[4, 2]] * 5),
    "equal but one": torch.tensor([[4, 2]] * 5 + [[4, 1]]),
    "mixed": torch.tensor([[1, 0], [0, 7], [1, 0], [0, 0], [0, 7]]),
}


@pytest.mark.parametrize("name", ROWS)
def test_blocks_with_equal_rows_are_together(name: str) -> None:
    rows, expected = ROWS[name], {}
    for number, row in enumerate(rows.tolist()):
        expected.setdefault(tuple(row), []).append(number)
    found = [(row, members.tolist()) for row, members in by_row(rows)]
    assert found == sorted(expected.items())
