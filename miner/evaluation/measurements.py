"""What a run took of its machine, and the versions it ran with."""

import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

_PACKAGES = ("miner", "torch", "pytorch-lightning", "hydra-core", "numpy", "wandb")
# ru_maxrss is in KiB on Linux and in bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def peak_memory_gib() -> float:
    """Most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 2**30


def peak_gpu_memory_gib() -> float | None:
    """Most GPU memory that tensors ever took; None without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None for those not there."""
    found: dict[str, str | None] = {name: _version(name) for name in _PACKAGES}
    return {"python": platform.python_version()} | found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # a checkout that was not installed, a logger that is not used
        return None
