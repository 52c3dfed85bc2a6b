"""Arrays of several layouts and types, read as (H, W, C) of pixels."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from miner.images.pixel_format import PixelType
from miner.regions import Region, sides_of
from miner.scratch import ArrayLike

Layout = Literal["HW", "HWC", "CHW"]

_MAX_PLANES = 4  # that many along the first axis are channels, where more are along the last


def layout_of(shape: tuple[int, ...]) -> Layout | None:
    """How an array of this shape is laid out, None where it is no image.

    Three axes are (H, W, C), or (C, H, W) when the first is at most 4 and the last is larger.
    """
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3:
        return "CHW" if shape[0] <= _MAX_PLANES < shape[2] else "HWC"
    return None


def pixel_type(dtype: np.dtype[Any]) -> PixelType | None:
    """The type that values are read as, None where they are no real numbers."""
    if dtype.kind == "b" or dtype == np.uint8:
        return "uint8"
    if dtype.kind == "u" and dtype.itemsize == 2:
        return "uint16"
    return "float32" if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize <= 8) else None


class ArrayView:
    """A box of an array, as (h, w, C) of a pixel type, converted when it is read."""

    def __init__(self, array: ArrayLike, layout: Layout, box: Region) -> None:
        """Take an array of a type that `pixel_type` knows, and a box of its rows and columns."""
        self._array, self._layout, self._box = array, layout, box
        n_channels = {"HW": 1, "HWC": array.shape[-1], "CHW": array.shape[0]}[layout]
        self.shape = (*sides_of(box), n_channels)
        self.dtype = np.dtype(pixel_type(array.dtype))

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        """The values in a slice of rows and one of columns, each with its first and its end."""
        rows, columns = (
            slice(first + part.start, first + part.stop)
            for part, (first, _) in zip(index, self._box, strict=True)
        )
        if self._layout == "CHW":
            values = np.moveaxis(self._array[slice(None), rows, columns], 0, -1)
        else:
            values = np.atleast_3d(self._array[rows, columns])
        if values.dtype.kind == "b":
            return np.where(values, np.uint8(255), np.uint8(0))
        with np.errstate(over="ignore"):  # an infinity is refused later, like those in other files
            converted: NDArray[Any] = values.astype(self.dtype, copy=False)
        return converted
