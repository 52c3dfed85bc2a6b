"""From the path a person typed to a file that can be opened."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from miner.images.errors import ImageError
from miner.images.samples import SAMPLE_PREFIX, SAMPLES

_ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


def find_file(path: str) -> Path:
    """Expand a leading `~/` and check that `path` names a readable local file with content.

    The folder of a Zarr array passes, too.

    Raises `ImageError` for a URL, a missing file, another folder or non-file, and a file that is
    empty or unreadable.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        raise ImageError(f"{path!r} is a URL: only local files are read; download it first")
    # a name such as "~draft.png" is no home folder
    file = Path(path).expanduser() if path.startswith("~/") else Path(path)
    try:
        _check(path, file)
    except OSError as error:
        raise ImageError(
            f"{path!r} cannot be read ({error.strerror}): check its name and permissions"
        ) from None
    return file


def is_zarr(folder: Path) -> bool:
    """Whether a path is the folder of a Zarr array or of a group of them."""
    return any((folder / name).is_file() for name in _ZARR_FILES)


def _check(path: str, file: Path) -> None:
    if not file.exists():
        raise ImageError(f"{path!r} does not exist: {_suggest(file)}")
    if is_zarr(file):
        return
    if file.is_dir():
        raise ImageError(
            f"{path!r} is a folder: give the path of one image file, or -m to fit every image in it"
        )
    if not file.is_file():
        raise ImageError(f"{path!r} is a device or pipe: give the path of an image file")
    with file.open("rb") as stream:
        if not stream.read(1):
            raise ImageError(f"{path!r} is empty (0 bytes): copy or export it again")


def _suggest(file: Path) -> str:
    """Name what the person may have meant."""
    if str(file) in SAMPLES:
        return f"did you mean '{SAMPLE_PREFIX}{file}'?"
    if not file.parent.is_dir():
        return f"neither does its folder, check {str(file.parent)!r}"
    names = {entry.name.lower(): entry.name for entry in file.parent.iterdir()}
    close = [names[match] for match in difflib.get_close_matches(file.name.lower(), names)]
    if not close:
        return f"check the path, or try '{SAMPLE_PREFIX}{SAMPLES[0]}'"
    return f"did you mean {' or '.join(map(repr, close))}?"
