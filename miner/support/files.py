"""Bounded reads, atomic writes, files of other processes, and full disks."""

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

TIMEOUT_S = 120.0  # a network disk may show late what another machine has written


def is_disk_full(error: OSError) -> bool:
    """Whether an error says that the disk, or the user's quota, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def read_regular_file(path: Path, max_bytes: int) -> str:
    """The text of a file; ValueError for a folder, pipe or device, too many bytes, or no text."""
    if path.exists() and not (path.is_file() and path.stat().st_size <= max_bytes):
        raise ValueError(f"no plain file of at most {max_bytes} bytes")
    return path.read_text()


def json_sha256(content: Any) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def flatten(values: Mapping[str, Any], separator: str = ".") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings with the names on their way, joined."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            nested = flatten(value, separator)
            yield from ((f"{name}{separator}{rest}", leaf) for rest, leaf in nested)
        else:
            yield name, value


def expand_home(path: str) -> str:
    """Expand a leading `~/` alone: a name such as `~draft.png` is no home folder."""
    return str(Path(path).expanduser()) if path.startswith("~/") else path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary file of the same folder, which replaces `path` if the block ends well."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")  # nobody else's
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def wait_for_file(path: Path) -> Path:
    """A file of another process, once it is there; `FileNotFoundError` after `TIMEOUT_S`."""
    deadline = time.monotonic() + TIMEOUT_S
    while not path.exists():
        if time.monotonic() > deadline:
            remedy = "all machines must share the run's folder, which hydra.run.dir names"
            reason = f"is not there {TIMEOUT_S:.0f} s after another process wrote it; {remedy}"
            raise FileNotFoundError(errno.ENOENT, reason, str(path))
        time.sleep(0.1)
    return path
