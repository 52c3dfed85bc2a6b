"""The compiled training steps, called from as many threads as PyTorch uses."""

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from miner.kernels.cpu.compiler import CompilerError, build

_SOURCE = Path(__file__).with_name("block_step.c")


INTEGERS = (
    *("inputs", "width", "depth", "channels", "activation", "head", "solved"),
    *("n_blocks", "n_pixels", "n_steps", "scores_last", "log_loss"),
)


NUMBERS = ("omega", "floor", "ridge")


ARRAYS = (
    *("encoded", "targets", "outputs", "rules", "amplitude"),
    *("trained", "first", "second", "best", "mse", "best_mse", "next"),
)


class Work(ctypes.Structure):
    """`Work` of block_step.c, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in INTEGERS),
        *((name, ctypes.c_double) for name in NUMBERS),
        *((name, ctypes.c_void_p) for name in ARRAYS),
    ]


@functools.cache
def library() -> "Library":
    """The functions of block_step.c, compiled for this machine the first time.

    Raises:
        CompilerError: there is no compiler, or it failed.
    """
    path = build(_SOURCE)
    try:
        return Library(path)
    except CompilerError:  # damaged in the cache, perhaps
        path.unlink(missing_ok=True)
        return Library(build(_SOURCE))


class Library:
    """A compiled block_step.c."""

    def __init__(self, path: Path) -> None:
        """Load a shared library.

        Raises:
            CompilerError: the system refuses to.
        """
        try:
            self._functions = ctypes.CDLL(str(path))
            self._functions.space_bytes.restype = ctypes.c_int64
        except (OSError, AttributeError) as error:  # a disk from which nothing may be run, say
            raise CompilerError(f"{path} cannot be loaded: {error}") from error

    def run(self, work: Work) -> None:
        """Train or render all blocks of `work` on PyTorch's number of threads."""
        n_threads = max(1, min(torch.get_num_threads(), work.n_blocks))
        n_bytes = self._functions.space_bytes(ctypes.byref(work))
        following = ctypes.c_int64(0)
        work.next = ctypes.addressof(following)
        spaces = torch.empty(n_threads, n_bytes, dtype=torch.uint8)

        def share(space: Tensor) -> None:
            self._functions.run(ctypes.byref(work), ctypes.c_void_p(space.data_ptr()))

        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(share, spaces))
