"""A mask of packed bits says of every pixel what an array of booleans would."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.signals import mask as module
from miner.signals.mask import Mask
from miner.signals.regions import slices, tiles, whole

SIDES = [(1, 1), (5, 23), (16, 64), (3, 5, 19)]


def random_valid(sides: tuple[int, ...], share: float = 0.5) -> np.ndarray:
    return np.random.default_rng(0).random(sides) < share


def mask_of(valid: np.ndarray) -> Mask:
    return Mask.of_parts(valid.shape, [(whole(valid.shape), valid)])


@pytest.mark.parametrize("sides", SIDES)
def test_parts_join_to_the_whole(sides: tuple[int, ...]) -> None:
    valid = random_valid(sides)
    parts = [(box, valid[slices(box)]) for box in tiles(sides, 8)]
    mask = Mask.of_parts(sides, reversed(parts))
    np.testing.assert_array_equal(mask.valid(whole(sides)), valid)
    assert mask.sha256 == mask_of(valid).sha256
    assert (mask.n_valid, mask.n_masked) == (valid.sum(), (~valid).sum())
    assert mask.bits.nbytes == math.prod(sides[:-1]) * math.ceil(sides[-1] / 8)


@given(st.data())
def test_regions_and_pixels_are_those_of_the_array(data: st.DataObject) -> None:
    sides = data.draw(st.sampled_from(SIDES))
    valid, mask = random_valid(sides), mask_of(random_valid(sides))
    spans = [st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True) for n in sides]
    region = tuple(tuple(sorted(data.draw(span))) for span in spans)
    np.testing.assert_array_equal(mask.valid(region), valid[slices(region)])
    np.testing.assert_array_equal(
        mask.cropped(region).valid(whole([b - a for a, b in region])), valid[slices(region)]
    )
    pixels = [
        np.array(data.draw(st.lists(st.integers(0, side - 1), min_size=3, max_size=3)))
        for side in sides
    ]
    np.testing.assert_array_equal(mask.at(pixels), valid[tuple(pixels)])
    np.testing.assert_array_equal(mask.at(np.ix_(*pixels)), valid[np.ix_(*pixels)])


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("step", [2, 3, 8])
@pytest.mark.parametrize("band_pixels", [1, 2**24])
def test_boxes_hold_data_if_any_of_their_pixels_does(
    sides: tuple[int, ...], step: int, band_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BAND_PIXELS", band_pixels)
    valid = random_valid(sides, share=0.1)
    reduced = mask_of(valid).reduced(step)
    found = reduced.valid(whole(reduced.sides))
    assert found.shape == tuple(math.ceil(side / step) for side in sides)
    for cell in itertools.product(*map(range, found.shape)):
        box = tuple(slice(n * step, (n + 1) * step) for n in cell)
        assert found[cell] == valid[box].any()


def test_masks_are_joined_where_both_hold_data() -> None:
    one, other = random_valid((5, 23)), ~random_valid((5, 23), share=0.3)
    both = mask_of(one) & mask_of(other)
    np.testing.assert_array_equal(both.valid(whole((5, 23))), one & other)
