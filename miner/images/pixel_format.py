"""How pixels are stored: their types, formats and orientation, and files opened for decoding."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from miner.images.metadata import NO_METADATA, Metadata
from miner.signals.mask import Mask
from miner.signals.regions import Region
from miner.signals.scratch import Create, Index, Scratch, WritableArray, create_npy, n_bytes
from miner.support.errors import ImageError, NoSpaceError
from miner.support.ranges import Count, Positive, rule
from miner.support.tensors import Tensor

PixelType = Literal["uint8", "uint16", "float32"]
Read = Callable[[Index], NDArray[Any]]
DAMAGED = "it is damaged, cut short or of an unusual kind; export it again"
IntegerType = Literal["int8", "int16", "int32", "int64", "uint32", "uint64"]  # read as float32
TYPE_RANGES: dict[str, tuple[float, float]] = {
    "uint8": (0.0, 255.0),
    "uint16": (0.0, 65535.0),
    "float32": (0.0, 1.0),
} | {name: (float(np.iinfo(name).min), float(np.iinfo(name).max)) for name in get_args(IntegerType)}


def pixel_type(dtype: np.dtype[Any]) -> PixelType | None:
    """The type that values are read as; None if they are not real numbers."""
    if dtype.kind == "b" or dtype == np.uint8:
        return "uint8"
    if dtype.kind == "u" and dtype.itemsize == 2:
        return "uint16"
    return "float32" if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize <= 8) else None


@dataclass(frozen=True)
class PixelFormat:
    """A file's storage, in plain values: `value = offset + scale * unit`, with `unit` in [0, 1]."""

    dtype: PixelType
    channels: Count  # 1 or 3, and those that `extra` describes
    scale: Positive  # the span of the data's range: 255 for uint8, else as `image.range` says
    offset: Annotated[float, rule("be finite", allow_inf_nan=False)]  # its least value
    metadata: Metadata = NO_METADATA
    stored: IntegerType | None = None  # the file's own type, where it is read as `dtype`
    is_clipped: bool = False  # values beyond the range are cut off

    @classmethod
    def of_values(
        cls, dtype: PixelType, channels: int, value_range: tuple[float, float] | None = None
    ) -> Self:
        """Map a range of values to [0, 1], by default the type's; a single one has a span of 1."""
        low, high = value_range or TYPE_RANGES[dtype]
        scale = (high - low) or 1.0
        offset = low if dtype == "float32" else min(low, TYPE_RANGES[dtype][1] - scale)
        return cls(dtype, channels, scale, offset)

    @property
    def data_range(self) -> tuple[float, float]:
        """The values that are mapped to 0 and to 1."""
        return self.offset, self.offset + self.scale

    def over_type(self, psnr_db: float | None) -> dict[str, float]:
        """A PSNR over the file's type's range, of floats [0, 1], if the data's is a part of it."""
        (low, high), (least, most) = self.data_range, TYPE_RANGES[self.stored or self.dtype]
        if psnr_db is None or (low, high) == (least, most) or not least <= low <= high <= most:
            return {}
        return {"psnr_dtype_db": psnr_db + 20 * math.log10((most - least) / self.scale)}

    def to_values(self, unit: Tensor, clip: bool = True) -> Tensor:
        """Values for people: those of floats as in the file, of integers over their type's most."""
        unit = unit.clamp(0, 1) if clip else unit
        least, most = TYPE_RANGES[self.dtype]
        if self.data_range == (least, most):
            return unit
        values = unit.double() * self.scale + (self.offset - least)  # spans may exceed float32
        return (values / (most - least)).to(unit.dtype)

    def to_unit(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Map stored values of any shape to [0, 1], as a new C-contiguous float32 array."""
        unit = np.array(pixels, dtype=self._working_type, order="C")
        unit -= self.offset
        unit /= self.scale
        if self.is_clipped:
            unit.clip(0, 1, out=unit)
        return unit.astype(np.float32, copy=False)

    def from_unit(self, unit: NDArray[Any]) -> NDArray[Any]:
        """Map values of any shape, clipped to [0, 1], to a new array as `written`; refuses NaN."""
        values = np.clip(np.asarray(unit, dtype=self._working_type), 0.0, 1.0)
        if np.isnan(values.max(initial=0.0)):
            count = int(np.isnan(values).sum())
            remedy = "the fit has probably diverged, lower its learning rate"
            raise ImageError(f"{count} of {values.size} values are NaN: {remedy}")
        values *= self.scale
        values += self.offset
        if self.written != "float32":
            np.rint(values.clip(*TYPE_RANGES[self.written]), out=values)
        return values.astype(self.written)

    def describe(self, sides: Sequence[int], mask: Mask | None = None) -> str:
        """What an image of this size is, as `512x512, 3 channels, uint8, range 0-255`."""
        size, (low, high) = "x".join(map(str, reversed(sides))), self.data_range
        channels = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
        nodata = f" (no-data {self.metadata.nodata})" if self.metadata.nodata else ""
        masked = mask and f", {mask.n_masked} of {math.prod(sides)} pixels are masked{nodata}"
        return (
            f"{size}, {channels}, {self.stored or self.dtype}, "
            f"range {low:g}{'-' if low >= 0 else ' to '}{high:g}"
            f"{masked or ''}"
        )

    @property
    def extra(self) -> tuple[int, ...]:
        """What channels after grey or RGB are, as `Metadata.extra`; those of arrays are unknown."""
        said, n_colours = self.metadata.extra, 3 if self.channels in (3, 4) else 1
        is_fit = said and self.channels - len(said) in (1, 3)
        return said if is_fit else (0,) * (self.channels - n_colours)

    @property
    def alpha(self) -> int:
        """What the last of 2 or 4 channels is: 1 associated alpha, 2 alpha, 0 something else."""
        return self.extra[0] if len(self.extra) == 1 else 0

    @property
    def n_shown(self) -> int:
        """How many channels are shown: no unknown ones, and no alpha that is in the colours."""
        return self.channels if self.alpha == 2 else 3 if self.channels > 2 else 1

    @property
    def written(self) -> PixelType | IntegerType:
        """The type of values in files: the source's own, if `dtype` holds all of its values."""
        return self.stored if self.stored in ("int8", "int16") else self.dtype

    @property
    def suffix(self) -> str:
        """Of the files that reports are written to: .png, or .tif for what PNG cannot hold."""
        is_plain = self.channels in (1, 3) or self.alpha == 2
        has_tags = self.metadata.geo or self.metadata.nodata
        return ".png" if self.dtype != "float32" and is_plain and not has_tags else ".tif"

    @property
    def _working_type(self) -> type[np.floating[Any]]:
        # float32 holds 16-bit integers exactly; a range of floats is only restored in float64
        return np.float64 if self.dtype == "float32" else np.float32


@dataclass(frozen=True)
class Orientation:
    """How to turn stored pixels upright: swap rows and columns first, then reverse each."""

    swaps: bool = False
    reverses: tuple[bool, bool] = (False, False)  # rows, columns

    @classmethod
    def of_exif(cls, number: int) -> Self:
        """One of EXIF's eight, 1 to 8; any other number leaves the image as it is."""
        return cls(number in (5, 6, 7, 8), (number in (3, 4, 7, 8), number in (2, 3, 6, 7)))

    def upright_sides(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """Height and width upright, from those stored."""
        return stored[::-1] if self.swaps else stored

    def stored(self, region: Region, sides: tuple[int, ...]) -> Region:
        """Where a region of the upright image, which has these sides, is stored."""
        if len(region) > 2:  # volumes are never turned
            return region
        box = tuple(
            (side - end, side - first) if is_reversed else (first, end)
            for (first, end), side, is_reversed in zip(region, sides, self.reverses, strict=True)
        )
        return box[::-1] if self.swaps else box

    def upright(self, values: NDArray[Any]) -> NDArray[Any]:
        """Stored values (H, W, C) turned upright, as a view."""
        if self.swaps:
            values = values.swapaxes(0, 1)
        rows, columns = (slice(None, None, -1 if reverse else 1) for reverse in self.reverses)
        return values[rows, columns]


@dataclass(frozen=True)
class OpenedFile:
    """An image file whose header has been read; no pixel has been decoded yet."""

    name: str  # the file's without its suffix, or the sample's
    sides: tuple[int, ...]  # height and width, upright; of a volume the depth before them
    n_channels: int
    dtype: PixelType  # of the values that `load` gives
    load: Callable[[Region, Scratch], Read]  # a stored region, once, as (*S, C) of `dtype`
    orientation: Orientation = Orientation()
    remarks: tuple[str, ...] = ()  # what is converted or left out
    metadata: Metadata = NO_METADATA
    stored: IntegerType | None = None  # the file's own type, where it is another
    mask: Mask | None = None  # of all sides


@contextmanager
def errors_about(subject: str) -> Iterator[None]:
    """Begin the messages of image errors with their subject, and report disk errors alike."""
    try:
        yield
    except ImageError as error:
        raise type(error)(f"{subject} {error}") from None
    except OSError as error:
        remedy = "check its name, its permissions and the disk"
        raise ImageError(f"{subject} cannot be read ({error.strerror}): {remedy}") from None


@contextmanager
def decoding(remedy: str = DAMAGED) -> Iterator[None]:
    """Turn whatever a library raises over a damaged file into an `ImageError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ImageError) or (isinstance(error, OSError) and error.strerror):
            raise
        reason = re.sub(r"'/dev/fd/\d+'|.<Python Stream>.", "it", str(error))
        reason = " ".join(f"{type(error).__name__}: {reason}".split())[:200]
        raise ImageError(f"cannot be decoded ({reason}): {remedy}") from None


def new_array(
    scratch: Scratch, name: str, shape: Sequence[int], dtype: DTypeLike, make: Create = create_npy
) -> WritableArray:
    """An uninitialised array for pixels, or an `ImageError` if there is no space for it."""
    size = mebibytes(n_bytes(shape, dtype))
    try:
        return scratch.array(name, shape, dtype, make)
    except OSError as error:
        remedy = "free as much, or put the run's folder on another disk"
        raise NoSpaceError(f"needs {size} for its pixels ({error.strerror}): {remedy}") from None
    except MemoryError:
        raise ImageError(f"needs {size} of memory for its pixels: free as much") from None


def mebibytes(size: int) -> str:
    """A number of bytes for people to read, rounded up."""
    return f"{-(-size // 2**20)} MiB"
