"""Errors whose messages are shown to users without a traceback."""

import shlex
import sys
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path

from miner.support.files import is_disk_full


class UserError(Exception):
    """An error whose message is shown to users as it is, without a traceback."""


class ConfigError(UserError, ValueError):
    """A setting is wrong. The message names its value, the rule and the remedy."""


class RepresentationError(ValueError):
    """A representation's files are damaged, foreign or incomplete; one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class ImageError(UserError, ValueError):
    """An image that cannot be read or written; one line with the value, the rule and the remedy."""


class NoSpaceError(ImageError):
    """The disk has no space for an image."""


class RunError(UserError, RuntimeError):
    """The disk or another process of the run has failed; what is finished is kept."""


def exit_status(command: Callable[[], object]) -> int:
    """Call a command: 0 if all is well, 1 after a line about an error, 130 after Ctrl-C."""
    try:
        command()
    except (ValueError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        print(f"error: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def nearest(name: str, names: Collection[str]) -> str | None:
    """The dotted name that was meant by a misspelt one, which may lack its group or name another.

    `max_step` and `model.max_steps` stand for `fitting.max_steps`, `optimizer.eps` for no other.
    """
    by_field: dict[str, list[str]] = {}
    for known in names:
        by_field.setdefault(known.rpartition(".")[2], []).append(known)
    last = name.rpartition(".")[2]
    begun = [field for field in by_field if field.startswith(last)]  # as `patch` for `patch_size`
    fields = begun if len(begun) == 1 else get_close_matches(last, by_field, 1)
    if not fields:
        return None
    found = by_field[fields[0]]
    return get_close_matches(name, found, 1, cutoff=0)[0] if "." in name else found[0]


def to_user_error(error: Exception, folder: Path) -> Exception:
    """An error about the disk as a `RunError`; any other as it is."""
    if (reason := _storage_reason(error, folder)) is None:
        return error
    remedy = f"mend this and go on with resume={shlex.quote(str(folder))}"
    return RunError(f"{reason}; what is finished is kept: {remedy}")


def error_summary(error: BaseException, folder: Path) -> str:
    """An error's message on one line, with its class if it is not one for users."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return " ".join((_storage_reason(error, folder) or text).split())


def _storage_reason(error: BaseException, folder: Path) -> str | None:
    file = getattr(error, "filename", None)
    if isinstance(error, NoSpaceError) or (isinstance(error, OSError) and is_disk_full(error)):
        return f"{file or folder}: the disk is full"
    if isinstance(error, OSError) and str(file).startswith(str(folder)):
        return f"{file}: {error.strerror}"
    return None
