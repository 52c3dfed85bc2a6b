"""Room for an image's pixels, in memory or on the disk."""

from collections.abc import Sequence

from numpy.typing import DTypeLike

from miner.images.errors import ImageError
from miner.scratch import Scratch, WritableArray, n_bytes


def new_array(scratch: Scratch, name: str, shape: Sequence[int], dtype: DTypeLike) -> WritableArray:
    """An array of which nothing is known yet; see `Scratch.array`.

    Raises:
        ImageError: the disk or the memory has no room for it.
    """
    try:
        return scratch.array(name, shape, dtype)
    except (OSError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not enough memory"
        raise ImageError(
            f"no room for {mebibytes(n_bytes(shape, dtype))} of pixels ({reason}): free as much, "
            "or put the run's folder on another disk"
        ) from None


def mebibytes(size: int) -> str:
    """A number of bytes for people to read, rounded up."""
    return f"{-(-size // 2**20)} MiB"
