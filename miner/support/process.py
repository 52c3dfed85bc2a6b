"""This process: its console, its lock on a run's folder, its threads, memory and packages."""

import atexit
import ctypes
import gc
import logging
import os
import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout
from rich import get_console

from miner.support.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LOG = logging.getLogger("miner")
_PACKAGES = ("miner", "torch", "pytorch-lightning", "hydra-core", "numpy", "wandb")


class ConsoleHandler(logging.Handler):
    """Prints log messages above a progress bar; long lines are not broken."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message, after its level if that is a warning or an error."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(level + self.format(record))


def say(text: str) -> None:
    """Print a line as it is, above a progress bar if there is one."""
    get_console().print(text, soft_wrap=True, markup=False, highlight=False)


def lock_folder(folder: Path) -> "AcquireReturnProxy[Any]":
    """Keep other runs out of a folder while the `with` statement or this process lasts.

    Raises `ConfigError` if another run has locked the folder, or it cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(path).acquire(timeout=0)
    except Timeout:
        reason = f"{folder}: another run uses this folder; wait for it, or"
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror});"
    raise ConfigError(f"{reason} name another folder")


@cache
def prepare() -> None:
    """Keep freed memory, whose pages would fault again, and warn if waiting threads will spin.

    No garbage is collected until `end_imports`, if torch is still to come, nor when Python exits.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        reason = "torch was imported before miner, so threads spin, which a busy machine slows"
        _LOG.warning("%s: import miner first, or set OMP_WAIT_POLICY=passive", reason)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**25)  # glibc refuses more
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    if "torch" not in sys.modules:
        gc.disable()
        atexit.register(gc.freeze)


def end_imports() -> None:
    """Collect garbage again, but not among what is there now: a pass over it takes 0.1 s."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def use_available_cores(n_processes: int = 1) -> None:
    """Give PyTorch a thread for each core that this process, one of `n_processes`, may use.

    OMP_NUM_THREADS decides where it is set; else it is set, for Lightning's further processes.
    """
    import joblib
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        n_cores = joblib.cpu_count(only_physical_cores=True)
        n_cores = min(n_cores, int(os.environ.get("SLURM_CPUS_PER_TASK", n_cores)))
        torch.set_num_threads(max(1, n_cores // n_processes))
        os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())


def peak_memory_gib() -> tuple[float, float]:
    """Peak memory of this process so far, and of its tensors on a GPU, 0 without one."""
    import torch  # here: refusals must not wait for it

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, else in KiB
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return host / 2**30, gpu / 2**30


@cache
def source_commit() -> str | None:
    """The Git commit of this package's checkout, `-dirty` if that has changed; None without one."""
    root = Path(__file__).resolve().parents[2]
    git = "git --git-dir=.git --work-tree=. describe --always --dirty --abbrev=40 --match="
    with suppress(OSError):  # there is no Git
        found = subprocess.run(git.split(), cwd=root, capture_output=True, text=True, check=False)
        return found.stdout.strip() or None
    return None


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of packages that affect results; None if not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()} | dict.fromkeys(_PACKAGES)
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
