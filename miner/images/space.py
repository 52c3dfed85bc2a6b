"""Room for an image's pixels, in memory or on the disk."""

from collections.abc import Sequence

from numpy.typing import DTypeLike

from miner.images.errors import ImageError, NoSpaceError
from miner.scratch import Scratch, WritableArray, n_bytes


def new_array(scratch: Scratch, name: str, shape: Sequence[int], dtype: DTypeLike) -> WritableArray:
    """An array of which nothing is known yet; see `Scratch.array`.

    Raises:
        ImageError: the memory or the disk has no room for it.
    """
    try:
        return scratch.array(name, shape, dtype)
    except OSError as error:
        raise NoSpaceError(_no_room(n_bytes(shape, dtype), str(error.strerror))) from None
    except MemoryError:
        raise ImageError(_no_room(n_bytes(shape, dtype), "not enough memory")) from None


def _no_room(size: int, reason: str) -> str:
    return (
        f"no room for {mebibytes(size)} of pixels ({reason}): free as much, "
        "or put the run's folder on another disk"
    )


def mebibytes(size: int) -> str:
    """A number of bytes for people to read, rounded up."""
    return f"{-(-size // 2**20)} MiB"
