"""Parameters of many blocks: selecting, joining, copying, mixing."""

import pytest
import torch

from miner.models.network import Parameters, concatenate, repeat, select, where


@pytest.fixture
def three() -> Parameters:
    return {"weight": torch.arange(12.0).view(3, 2, 2), "a": torch.tensor([5.0, 6.0, 7.0])}


def flat(parameters: Parameters) -> list[list[float]]:
    return [parameters["a"].tolist(), parameters["weight"][:, 0, 0].tolist()]


@pytest.mark.parametrize("index", [[2, 0], [0, 2], [False, True, True]])
def test_select_takes_numbers_in_their_order_or_a_mask(three: Parameters, index: list[int]) -> None:
    rows = torch.arange(3)[torch.tensor(index)].tolist()
    assert flat(select(three, torch.tensor(index))) == [
        [5.0 + i for i in rows],
        [4.0 * i for i in rows],
    ]


def test_concatenate_joins_what_select_took_apart(three: Parameters) -> None:
    parts = [select(three, torch.tensor(rows)) for rows in ([0], [1, 2])]
    torch.testing.assert_close(concatenate(parts), three, rtol=0, atol=0)


def test_repeat_makes_blocks_that_can_differ() -> None:
    copies = repeat({"a": torch.tensor(1.0), "bias": torch.zeros(2)}, 3)
    copies["bias"][0] = 9.0
    assert copies["a"].shape == (3,)
    assert copies["bias"].tolist() == [[9.0, 9.0], [0.0, 0.0], [0.0, 0.0]]


def test_where_mixes_block_by_block(three: Parameters) -> None:
    zeros = {name: torch.zeros_like(tensor) for name, tensor in three.items()}
    mixed = where(torch.tensor([True, False, True]), zeros, three)
    assert flat(mixed) == [[0.0, 6.0, 0.0], [0.0, 4.0, 0.0]]
