"""The lock of a run folder, peak memory, and package versions."""

import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from filelock import AcquireReturnProxy, BaseFileLock, FileLock, Timeout

from miner.support.errors import ConfigError

LOCK = ".lock"


def lock_folder(folder: Path) -> "AcquireReturnProxy[BaseFileLock]":
    """Keep other runs out of a folder, until this process ends in any way or the lock is released.

    What is given releases it at the end of a `with` statement.

    Raises:
        ConfigError: another run is at work there, or the folder cannot be written.
    """
    lock: BaseFileLock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{folder}: another run is at work in this folder; wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{folder / LOCK}: cannot be written ({error.strerror}); name another folder"
        ) from None


_PACKAGES = ("miner", "torch", "pytorch-lightning", "hydra-core", "numpy", "wandb")


# ru_maxrss is in KiB on Linux and in bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class PeakMemory(NamedTuple):
    """Most memory that a process ever held, and its tensors on a GPU: 0 without one."""

    host_gib: float
    gpu_gib: float


def peak_memory() -> PeakMemory:
    """What this process has held so far."""
    import torch  # slow to import, and mistakes are answered before it

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
