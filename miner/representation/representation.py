"""The product of a fit: every level's active blocks, rendered at any level and in any region."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from miner.pyramids.prediction import halo, predict
from miner.representation.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from miner.representation.render import check_region, render_level, whole_patches
from miner.representation.shard import Shard, write_shard
from miner.representation.shard_folder import ShardFolder, ShardIndex
from miner.representation.spec import Spec
from miner.signals.regions import Region, sides_of, whole
from miner.signals.signal import CPU
from miner.support.errors import RepresentationError

_MOST_VALUES = 2**32  # 16 GiB

REPRESENTATION_FOLDER = "representation"
"""Name of a representation's folder in the folder of the run that makes it."""


class Representation:
    """A pyramid of block networks.

    Levels without shards say nothing beyond the coarser ones, so a representation of which only
    the coarse levels are fitted renders too.
    """

    def __init__(self, spec: Spec, shards: Mapping[int, Sequence[Shard]]) -> None:
        """Take the spec and the shards of each level."""
        self.spec = spec
        self.shards = {level: tuple(found) for level, found in shards.items()}
        self._index = {level: ShardIndex(spec.grid(level), s) for level, s in self.shards.items()}

    @property
    def n_parameters(self) -> int:
        """Stored numbers of all block networks."""
        return sum(self.level_parameters(level) for level in self.shards)

    def level_parameters(self, level: int) -> int:
        """Stored numbers of one level's block networks."""
        shards = self.shards.get(level, ())
        return sum(
            n_blocks * self.spec.model(level, width).n_parameters
            for shard in shards
            for width, n_blocks in zip(*shard.width_counts(), strict=True)
        )

    def active_blocks(self, level: int) -> Tensor:
        """Numbers of the blocks of a level that have a network, ascending."""
        numbers = [shard.blocks for shard in self.shards.get(level, ())]
        return torch.cat([torch.empty(0, dtype=torch.long), *numbers]).sort().values

    def render(
        self, level: int = 0, region: Region | None = None, device: torch.device = CPU
    ) -> np.ndarray:
        """The image at a level, clipped to the unit range: `(C, *S)` float32.

        `region` is ((first, end), ...) in that level's pixels, rows first; None is the whole level.
        It is computed on the device.
        """
        return self.reconstruct(level, region, device).clamp(0, 1).cpu().numpy()

    def reconstruct(
        self, level: int = 0, region: Region | None = None, device: torch.device = CPU
    ) -> Tensor:
        """The unclipped reconstruction r_j in a region, `(C, *S)` float32, on the device.

        Raises:
            ValueError: no such level, a region outside it, or one too large for an array.
        """
        spec = self.spec
        if not 0 <= level < spec.n_levels:
            raise ValueError(f"level={level}: must be 0 (full size) to {spec.n_levels - 1}")
        sides = spec.level_sides[level]
        if region is None:
            region = whole(sides)
        check_region(region, sides)
        n_values = spec.n_channels * math.prod(sides_of(region))
        if n_values > _MOST_VALUES:
            raise ValueError(
                f"region={region}: {n_values} values are too many for one array, which may have "
                f"{_MOST_VALUES}; render a part, or write a file with python -m miner.render"
            )
        box = whole_patches(region, spec.grid(level))
        prediction = self._prediction(level, box, device)
        first = tuple(low for low, _ in box)
        rendered = render_level(spec, level, self._near(level, box), prediction, first)
        crop = [slice(r[0] - b[0], r[1] - b[0]) for r, b in zip(region, box, strict=True)]
        return rendered[(slice(None), *crop)].contiguous()

    def _near(self, level: int, box: Region) -> list[Shard]:
        if level not in self._index:
            return []
        size = self.spec.patch_size
        first = [low // size for low, _ in box]
        return self._index[level].near(first, [-(-high // size) for _, high in box])

    def _prediction(self, level: int, box: Region, device: torch.device) -> Tensor:
        if self.spec.is_coarsest(level):
            return torch.zeros(self.spec.n_channels, *sides_of(box), device=device)
        around = halo(box, self.spec.level_sides[level + 1])
        coarser = self.reconstruct(level + 1, around, device)
        return predict(coarser, tuple(low for low, _ in around), box)

    def save(self, folder: str | Path) -> Path:
        """Write all shards and the manifest into a folder, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        checksums = {
            level: {shard.file_name: write_shard(folder, shard).sha256 for shard in found}
            for level, found in self.shards.items()
        }
        write_manifest(folder, Manifest(self.spec, checksums))
        return folder


def load(path: str | Path) -> Representation:
    """Load a representation from its folder, or from the folder of the run that made it.

    Needs no configuration and imports nothing that the files name. All files are checked; their
    parameters stay on the disk until they are rendered.

    Raises:
        RepresentationError: the manifest or a shard is missing, damaged or foreign.
    """
    folder = representation_folder(Path(path))
    manifest = read_manifest(folder)
    files = ShardFolder(folder, manifest.spec)
    shards = {level: _open_level(files, level, found) for level, found in manifest.levels.items()}
    return Representation(manifest.spec, shards)


def representation_folder(folder: Path) -> Path:
    """A representation's folder: this one, or the one in it if this is a run's.

    Raises:
        RepresentationError: the folder cannot be looked into.
    """
    inner = folder / REPRESENTATION_FOLDER
    try:
        is_inner = (inner / MANIFEST).exists() and not (folder / MANIFEST).exists()
    except OSError as error:
        raise RepresentationError(f"{folder}: cannot be read ({error.strerror})") from error
    return inner if is_inner else folder


def _open_level(files: ShardFolder, level: int, found: Mapping[str, str]) -> list[Shard]:
    shards = []
    for name, expected in found.items():
        path, file = files.folder / name, files.open(name)
        shard = file.shard
        if file.sha256 != expected or shard.level != level or shard.file_name != name:
            raise RepresentationError(f"{path}: not the shard that the manifest names")
        shards.append(shard)
    blocks = torch.cat([torch.empty(0, dtype=torch.long), *(s.blocks for s in shards)])
    if len(blocks.unique()) != len(blocks):
        raise RepresentationError(f"{files.folder}: level {level} holds the same block twice")
    return shards
