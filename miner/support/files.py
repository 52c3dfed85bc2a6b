"""Files read with care, files written whole or not at all, and disks that are full."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LATE_S = 120.0
"""Until a network disk shows what another machine has written."""


def is_disk_full(error: OSError) -> bool:
    """Whether an error says that the disk, or what one may use of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def read_regular_file(path: Path, most_bytes: int) -> str:
    """The text of a plain file: not of a folder, a pipe or a device, and not of a huge one.

    Raises:
        ValueError: it is none, or its bytes are no text.
        OSError: it cannot be read.
    """
    if path.exists() and not (path.is_file() and path.stat().st_size <= most_bytes):
        raise ValueError(f"no plain file of at most {most_bytes} bytes")
    return path.read_text()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a scratch path in the same folder that replaces `path` when the block ends well.

    When it does not, the scratch file is removed and whatever was at `path` stays.
    """
    scratch = path.with_name(f".{path.name}.part")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def wait_for_file(path: Path) -> Path:
    """Wait for a file that another process has written: network disks may show it late.

    Raises:
        FileNotFoundError: it is not there when the time is over.
    """
    until = time.monotonic() + LATE_S
    while not path.exists():
        if time.monotonic() > until:
            reason = (
                f"is not there {LATE_S:.0f} s after another process wrote it; all machines must "
                "share the run's folder, which hydra.run.dir names"
            )
            raise FileNotFoundError(errno.ENOENT, reason, str(path))
        time.sleep(0.1)
    return path
