"""The digest of a file's bytes, computed once for as long as the file stays as it is."""

import hashlib
from functools import lru_cache
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Of a folder: of the names below it, in order, each with the digest of its file.

    Raises:
        OSError: a file cannot be read.
    """
    path = path.absolute()
    if not path.is_dir():
        return _of_file(path, *_state(path))
    digest = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix().encode(errors="surrogateescape")
        digest.update(name + b"\0" + _of_file(file, *_state(file)).encode() + b"\n")
    return digest.hexdigest()


def _state(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=1024)
def _of_file(file: Path, modified_ns: int, n_bytes: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
