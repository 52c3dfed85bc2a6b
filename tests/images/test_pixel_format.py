"""Stored values are mapped to [0, 1] and back, and turned upright."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_regions import regions

from miner.images.pixel_format import Orientation, PixelFormat
from miner.signals.regions import slices
from miner.support.errors import ImageError

GREY = PixelFormat.of_values("uint8", 1)


@settings(max_examples=200)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=20)
)
def test_any_floats_come_back_within_rounding(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    low, high = float(values.min()), float(values.max())
    format = PixelFormat.of_values("float32", 1, (low, high))
    unit = format.to_unit(values)
    assert 0 <= unit.min() <= unit.max() <= 1
    error = np.abs(format.from_unit(unit).astype(float) - values)
    assert error.max() <= 2**-23 * max(high - low, abs(low), abs(high))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_integer_survives_the_unit_range(dtype: str) -> None:
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    format = PixelFormat.of_values(dtype, 1)
    np.testing.assert_array_equal(format.from_unit(format.to_unit(values)), values)


def test_values_are_clipped_and_rounded_in_a_new_array() -> None:
    unit = np.array([-0.1, 0.0, 0.5, 1.0, 7.0, np.inf])
    before = unit.tolist()
    assert GREY.from_unit(unit).tolist() == [0, 0, 128, 255, 255, 255]
    assert unit.tolist() == before


def test_nan_is_refused() -> None:
    with pytest.raises(ImageError, match=r"1 of 2 values are NaN.*lower its learning rate"):
        GREY.from_unit(np.array([0.0, np.nan]))


@given(st.data(), st.integers(1, 8), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_turning_a_region_is_cutting_the_turned(
    data: st.DataObject, number: int, sides: tuple[int, int]
) -> None:
    region = data.draw(regions(sides))
    orientation = Orientation.of_exif(number)
    stored_sides = orientation.upright_sides(sides)  # swapping twice changes nothing
    stored = np.arange(np.prod(sides)).reshape(*stored_sides, 1)
    turned = orientation.upright(stored)
    assert turned.shape[:2] == orientation.upright_sides(stored_sides) == sides
    part = orientation.upright(stored[slices(orientation.stored(region, sides))])
    np.testing.assert_array_equal(part, turned[slices(region)])


@pytest.mark.parametrize("number", [0, 9, 65535])
def test_unknown_orientations_leave_the_image(number: int) -> None:
    assert Orientation.of_exif(number) == Orientation.of_exif(1)
