"""What makes two jobs the same: their settings and their image."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.images import SAMPLE_PREFIX

HASH_LENGTH = 8
_NO_PART = ("hydra", "logger", "objective")  # what is told of a job does not change it


def job_hash(config: DictConfig) -> str:
    """Eight hexadecimal digits of the resolved configuration and the image's content."""
    keys = [str(key) for key in config if key not in _NO_PART]
    settings: Any = OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=True)
    settings["image"]["path"] = _content(settings["image"]["path"])
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def job_folder(sweep_folder: str, number: int, *, _root_: DictConfig) -> str:
    """The name of a job's folder: that of an earlier start, or `<number>-<hash>`.

    Resolver of `hydra.sweep.subdir`; OmegaConf hands it the job's configuration as `_root_`.
    """
    digest = job_hash(_root_)
    earlier = sorted(Path(sweep_folder).glob(f"*-{digest}"))
    return earlier[0].name if earlier else f"{number}-{digest}"


def _content(path: str) -> str:
    """A file's name and the digest of its bytes: where it lies makes no difference."""
    if path.startswith(SAMPLE_PREFIX):
        return path
    file = Path(path).expanduser() if path.startswith("~/") else Path(path)
    try:
        stat = file.stat()
        return f"{file.stem} {_digest(file, stat.st_mtime_ns, stat.st_size)}"
    except OSError:  # it went away since it was checked; its job will say so
        return path


@lru_cache(maxsize=1024)
def _digest(file: Path, modified_ns: int, n_bytes: int) -> str:
    """Digest a file once for the many jobs that fit it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# On import, since a launcher's worker knows this module only as something that its task needs.
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
