"""Room for a run's large arrays: in memory while they are small, else in files on a disk."""

import hashlib
import shutil
from collections import Counter
from pathlib import Path

from miner.config.job import MAIN_PROCESS, RankInfo
from miner.config.schema import RunConfig
from miner.images import ImageInfo, inspect_image
from miner.signals.scratch import Scratch, n_bytes, scratch_files
from miner.support.errors import ConfigError

_SCRATCH = ".miner-scratch"


def scratch_for(checked: RunConfig, folder: Path, process: RankInfo = MAIN_PROCESS) -> Scratch:
    """Where the large arrays of a process of a run in `folder` go; the first looks for room.

    Raises:
        ConfigError: the disk has less room than they need.
        ImageError: the image file.
    """
    image = checked.image
    info = inspect_image(image.path, image.max_pixels, image.crop_px)
    stored = n_bytes((info.height_px, info.width_px, info.channels), info.dtype)
    levels = _level_bytes(info)
    is_held = levels + 2 * stored <= checked.fitting.in_memory_mib * 2**20
    place = _place(checked.fitting.scratch_dir, folder)
    if process.is_first:
        needed: Counter[Path] = Counter()
        if _world_size(checked) > 1:
            needed[shared_folder(checked, folder).parent] += levels  # in tiles, however small
        elif not is_held:
            needed[place] += levels
        if not is_held:  # the image of every process, and what the first renders
            needed[place] += (1 + _n_sharing(checked)) * stored
        for disk, n in needed.items():
            _refuse_full(disk, n, "hydra.run.dir" if disk != place else "fitting.scratch_dir")
    if is_held:
        return Scratch(None)
    return Scratch(place if process.is_first else place / process.name)


def shared_scratch(checked: RunConfig, folder: Path, process: RankInfo = MAIN_PROCESS) -> Scratch:
    """What the processes of a run in `folder` make together, for the first of them to remove."""
    is_shared = checked.trainer.strategy == "ddp" and process.is_first
    return Scratch(shared_folder(checked, folder).parent if is_shared else None)


def shared_folder(checked: RunConfig, folder: Path) -> Path:
    """Where the processes of a run put what all read: on several machines, in its own folder."""
    is_one_machine = checked.trainer.num_nodes == 1
    return _place(checked.fitting.scratch_dir if is_one_machine else None, folder) / "shared"


def _place(scratch_dir: str | None, folder: Path) -> Path:
    """A folder that no other run uses, and the same one when this run is resumed."""
    if scratch_dir is None:
        return folder / _SCRATCH
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return Path(scratch_dir).expanduser() / f"miner-{name}"


def _world_size(checked: RunConfig) -> int:
    return checked.trainer.devices * checked.trainer.num_nodes


def _n_sharing(checked: RunConfig) -> int:
    """Processes whose arrays lie on one disk: the run's folder is all machines'."""
    trainer = checked.trainer
    return trainer.devices * (trainer.num_nodes if checked.fitting.scratch_dir is None else 1)


def _free_bytes(place: Path) -> int:
    """Free space, and what an interrupted start left there, which goes first."""
    left = sum(path.stat().st_size for path in scratch_files(place)) if place.is_dir() else 0
    existing = place.absolute()
    while not existing.exists():
        existing = existing.parent
    return left + shutil.disk_usage(existing).free


def _refuse_full(place: Path, needed: int, setting: str) -> None:
    free = _free_bytes(place)
    if needed > free:
        raise ConfigError(
            f"{place}: the disk has {free / 2**30:.1f} GiB free and this image takes "
            f"{needed / 2**30:.1f} GiB for a while; free some, or name a folder on another disk "
            f"with {setting}"
        )


def _level_bytes(info: ImageInfo) -> int:
    """Most bytes of levels at once: the image's pyramid, and two reconstructions."""
    sides = (info.height_px, info.width_px)
    n_values = []
    while max(sides) > 1:
        sides = ((sides[0] + 1) // 2, (sides[1] + 1) // 2)
        n_values.append(info.channels * sides[0] * sides[1])
    return 4 * (sum(n_values) + sum(n_values[:2]))
