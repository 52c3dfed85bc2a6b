"""Failures that are no faults of ours: their messages say all."""

import shlex
from pathlib import Path

from miner.files import is_disk_full
from miner.fitting.divergence import DivergenceError
from miner.images import ImageError
from miner.images.errors import NoSpaceError
from miner.schema import ConfigError


class StorageError(RuntimeError):
    """The disk is full, or will not take a file; what is finished is kept."""


class RankError(RuntimeError):
    """Another process of the run has failed or was killed; what is finished is kept."""


TOLD = (ConfigError, ImageError, DivergenceError, StorageError, RankError)
"""Errors whose messages say all."""


def as_told(error: Exception, folder: Path) -> Exception:
    """An error about the disk as a `StorageError`; any other as it is."""
    reason = _storage_reason(error, folder)
    if reason is None:
        return error
    return StorageError(
        f"{reason}; what is finished is kept: mend this and go on with "
        f"resume={shlex.quote(str(folder))}"
    )


def reason_of(error: Exception, folder: Path) -> str:
    """What an error says, on one line; with its kind where the message does not say all."""
    is_told = isinstance(error, TOLD)
    text = str(error) if is_told else f"{type(error).__name__}: {error}"
    return " ".join((_storage_reason(error, folder) or text).split())


def _storage_reason(error: Exception, folder: Path) -> str | None:
    """What the disk did not do; None for an error about something else."""
    if isinstance(error, NoSpaceError):
        return f"{folder}: the disk is full"
    if isinstance(error, OSError) and is_disk_full(error):
        return f"{error.filename or folder}: the disk is full"
    if isinstance(error, OSError) and str(error.filename).startswith(str(folder)):
        return f"{error.filename}: {error.strerror}"
    return None
