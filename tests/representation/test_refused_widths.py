"""Widths and numbers of a shard that do not fit each other are not taken for sound."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from saved import SHOWN, edit_shard, refused
from torch import Tensor

from miner.representation import load

Change = Callable[[Tensor], Tensor]
WRONG_WIDTHS: dict[str, Change] = {
    "a zero": lambda w: w * torch.tensor([1, 0, 1]),
    "negative": lambda w: w - 100,
    "above the most": lambda w: torch.where(w == w.max(), 1025, w),
    "too many": lambda w: torch.cat([w, w[:1]]),
    "too few": lambda w: w[:2],
    "none": lambda w: w[:0],
    "a column": lambda w: w[:, None],
    "a number": lambda w: w[0],
}


@pytest.mark.parametrize("wrong", WRONG_WIDTHS.values(), ids=WRONG_WIDTHS.keys())
def test_impossible_widths_are_refused(folder: Path, wrong: Change) -> None:
    edit_shard(folder, lambda tensors: tensors.update(widths=wrong(tensors["widths"].clone())))
    refused(folder, "widths are not one number from 1 to 1024 per block")


@pytest.mark.parametrize("change", [[1, 1, 1], [0, 0, 1], [-1, 0, 0], [1, -1, 0], [900, 0, 0]])
def test_widths_that_do_not_fit_the_numbers_are_refused(folder: Path, change: list[int]) -> None:
    by = torch.tensor(change)
    edit_shard(folder, lambda tensors: tensors.update(widths=tensors["widths"] + by))
    refused(folder, "its tensors do not fit the manifest")


NUMBERS: dict[str, Change] = {
    "one more": lambda n: torch.cat([n, n[:1]]),
    "twice": lambda n: torch.cat([n, n]),
    "one less": lambda n: n[:-1],
    "none": lambda n: n[:0],
    "of another type": lambda n: n.double(),
}


@pytest.mark.parametrize("change", NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_that_do_not_fit_the_widths_are_refused(folder: Path, change: Change) -> None:
    edit_shard(folder, lambda tensors: tensors.update(float32=change(tensors["float32"]).clone()))
    refused(folder, "its tensors do not fit the manifest")


@pytest.mark.parametrize("name", ["blocks", "widths", "float32"])
def test_a_shard_without_one_of_its_tensors_is_refused(folder: Path, name: str) -> None:
    edit_shard(folder, lambda tensors: tensors.pop(name))
    refused(folder, f"damaged shard .'{name}'")


@pytest.mark.parametrize("name", ["float64", "float16", "extra"])
def test_a_shard_with_one_more_tensor_is_refused(folder: Path, name: str) -> None:
    edit_shard(folder, lambda tensors: tensors.update({name: torch.zeros(2)}))
    refused(folder, "its tensors do not fit the manifest")


def test_a_shard_written_by_hand_is_taken_if_it_fits(folder: Path) -> None:
    edit_shard(folder, lambda tensors: None)
    assert np.array_equal(load(folder).render(), SHOWN.render())
