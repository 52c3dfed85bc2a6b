"""What a run took of its machine, and the versions it ran with."""

import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import torch

_PACKAGES = ("miner", "torch", "pytorch-lightning", "hydra-core", "numpy", "wandb")
# ru_maxrss is in KiB on Linux and in bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class PeakMemory(NamedTuple):
    """Most memory that a process ever held, and its tensors on a GPU: 0 without one."""

    host_gib: float
    gpu_gib: float


def peak_memory() -> PeakMemory:
    """What this process has held so far."""
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return PeakMemory(host / 2**30, gpu / 2**30)


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None for those not there."""
    found: dict[str, str | None] = {name: _version(name) for name in _PACKAGES}
    return {"python": platform.python_version()} | found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that was not installed, a logger that is not used
        return None
