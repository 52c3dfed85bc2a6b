"""This process: its console, its lock on a run's folder, its memory and its packages."""

import logging
import platform
import resource
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from filelock import AcquireReturnProxy, BaseFileLock, FileLock, Timeout
from rich import get_console

from miner.support.errors import ConfigError

LOCK = ".lock"
_PACKAGES = ("miner", "torch", "pytorch-lightning", "hydra-core", "numpy", "wandb")


class ConsoleHandler(logging.Handler):
    """Prints log messages above a progress bar; long lines are not broken."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message, after its level if that is a warning or an error."""
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        say(text)


def say(text: str) -> None:
    """Print a line as it is, above a progress bar if there is one."""
    get_console().print(text, soft_wrap=True, markup=False, highlight=False)


def lock_folder(folder: Path) -> "AcquireReturnProxy[BaseFileLock]":
    """Keep other runs out of a folder until the lock is released or this process ends.

    As a context manager, the lock is released at the end of the `with` statement.

    Raises:
        ConfigError: another run has locked the folder, or it cannot be written.
    """
    lock: BaseFileLock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{folder}: another run uses this folder; wait for it, or name another folder"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{folder / LOCK}: cannot be written ({error.strerror}); name another folder"
        ) from None


class PeakMemory(NamedTuple):
    """Peak memory of a process and of its tensors on a GPU, 0 without one."""

    host_gib: float
    gpu_gib: float


def peak_memory() -> PeakMemory:
    """Peak memory of this process so far."""
    import torch  # here: refusals must not wait for it

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, else in KiB
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return PeakMemory(host / 2**30, gpu / 2**30)


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of packages that affect results; None if not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
