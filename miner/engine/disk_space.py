"""Scratch space for a run's large arrays: memory while they are small, else files on a disk."""

import hashlib
import math
import shutil
from collections import Counter
from pathlib import Path

from miner.config.job import MAIN_PROCESS, RankInfo
from miner.config.schema import RunConfig
from miner.images.pixel_format import OpenedFile
from miner.images.source import inspect_image
from miner.signals.scratch import Scratch, n_bytes, scratch_files
from miner.support.errors import ConfigError
from miner.support.run_files import SCRATCH


def scratch_for(checked: RunConfig, folder: Path, rank: RankInfo = MAIN_PROCESS) -> Scratch:
    """The scratch files of one process of a run in `folder`; rank 0 checks the disk space of all.

    Raises `ConfigError` if the disk has less space than they need, or the run needs the checkpoint
    that was left out.
    """
    image, trainer = checked.image, checked.trainer
    info = inspect_image(image.path, image.max_pixels, image.crop_px, image.axes)
    stored, levels = n_bytes((*info.sides, info.n_channels), info.dtype), _level_bytes(info)
    is_in_memory = levels + 2 * stored <= checked.fitting.in_memory_mib * 2**20
    own = _scratch_folder(checked.fitting.scratch_dir, folder)
    if not checked.callbacks.get("checkpoint") and (trainer.is_ddp or not is_in_memory):
        reason = "several processes share" if trainer.is_ddp else "an image of this size leaves"
        remedy = "its shards in files; leave callbacks.checkpoint in"
        raise ConfigError(f"callbacks.checkpoint=null: {reason} {remedy}")
    needed: Counter[Path] = Counter()
    if trainer.devices * trainer.num_nodes > 1:  # tiles in files, however small
        pixels = checked.callbacks.get("reconstruction")
        is_whole = pixels and math.prod(info.sides) <= getattr(pixels, "max_pixels", 2**28)
        exchanged = 4 * math.prod(info.sides) * info.n_channels if is_whole else 0
        needed[shared_folder(checked, folder).parent] += levels + exchanged
    elif not is_in_memory:
        needed[own] += levels
    if not is_in_memory:  # an image for each process on this disk, and the reconstruction
        is_shared = checked.fitting.scratch_dir is None
        needed[own] += (1 + trainer.devices * (trainer.num_nodes if is_shared else 1)) * stored
    for disk, size in needed.items() if rank.is_first else ():
        _refuse_full(disk, size, "fitting.scratch_dir" if disk == own else "hydra.run.dir")
    if is_in_memory:
        return Scratch(None)
    return Scratch(own if rank.is_first else own / rank.name)


def shared_folder(checked: RunConfig, folder: Path) -> Path:
    """The folder of files that all processes read: in the run's if there are several machines."""
    scratch_dir = checked.fitting.scratch_dir if checked.trainer.num_nodes == 1 else None
    return _scratch_folder(scratch_dir, folder) / "shared"


def _scratch_folder(scratch_dir: str | None, folder: Path) -> Path:
    """A folder that no other run uses, and the same one when this run is resumed."""
    if scratch_dir is None:
        return folder / SCRATCH
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return Path(scratch_dir).expanduser() / f"miner-{name}"


def _refuse_full(folder: Path, needed: int, setting: str) -> None:
    existing = next(filter(Path.exists, (folder.absolute(), *folder.absolute().parents)))
    earlier = sum(path.stat().st_size for path in scratch_files(folder))  # of an interrupted run
    free = shutil.disk_usage(existing).free + earlier
    if needed > free:
        sizes = f"{free / 2**30:.1f} GiB free and this image takes {needed / 2**30:.1f} GiB"
        remedy = f"free some, or name a folder on another disk with {setting}"
        raise ConfigError(f"{folder}: the disk has {sizes} for a while; {remedy}")


def _level_bytes(info: OpenedFile) -> int:
    """Largest size of all levels at once: the image's pyramid, and two reconstructions."""
    sides, n_values = info.sides, []
    while max(sides) > 1:
        sides = tuple((side + 1) // 2 for side in sides)
        n_values.append(info.n_channels * math.prod(sides))
    return 4 * (sum(n_values) + sum(n_values[:2]))
