"""The product of a fit: every level's active blocks, rendered at any level and in any region."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from miner.pyramids.resample import ExpandedSignal, zero_signal
from miner.representation.points import evaluate, gather, pixels_of, places_of
from miner.representation.rendering import ShardIndex, check_region, render_level
from miner.representation.shard import Shard, write_shard
from miner.representation.spec import MANIFEST, Manifest, Spec, read_manifest, write_manifest
from miner.representation.store import ShardFolder
from miner.signals.regions import Region, sides_of, slices, whole
from miner.signals.signal import CPU, Signal, SourceSignal
from miner.support.errors import RepresentationError

if TYPE_CHECKING:
    from miner.representation.module import RepresentationModule

REPRESENTATION_FOLDER = "representation"  # in the folder of the run that makes it
_MAX_VALUES = 2**32  # 16 GiB


class Representation:
    """A pyramid of block networks: a spec and the shards of each level.

    It renders with the coarse levels alone: a level without shards is its prediction.
    """

    def __init__(self, spec: Spec, shards: Mapping[int, Sequence[Shard]]) -> None:
        self.spec = spec
        self.shards = {level: tuple(found) for level, found in shards.items()}
        self._index = {
            level: ShardIndex(spec.grid(level), self.shards.get(level, ()))
            for level in range(spec.n_levels)
        }

    @property
    def n_parameters(self) -> int:
        """Stored numbers of all block networks."""
        kinds = ((level, shard.widths) for level, found in self.shards.items() for shard in found)
        counts = Counter((level, width) for level, widths in kinds for width in widths.tolist())
        return sum(n * self.spec.model(*kind).n_parameters for kind, n in counts.items())

    def active_blocks(self, level: int) -> Tensor:
        """Numbers of the blocks of a level that have a network, ascending."""
        return _blocks(self.shards.get(level, ())).sort().values

    def render(
        self, level: int = 0, region: Region | None = None, device: torch.device = CPU
    ) -> np.ndarray:
        """The image at a level, clipped to the unit range: `(C, *S)` float32.

        `region` is ((first, end), ...) in that level's pixels, rows first; None is the whole level.
        """
        return self.reconstruct(level, region, device).clamp(0, 1).cpu().numpy()

    def __call__(self, xy: ArrayLike | Tensor, *, clip: bool = True) -> Tensor:
        """Values `(..., C)` at points `(..., D)`, clipped to the unit range as `render` does.

        Points are (x, y) or (x, y, z) in [-1, 1], which is the whole image, as `grid_sample` of
        PyTorch counts with `align_corners=False`; the result is on their device. At the centres
        of pixels in float64 it is what `render` gives, within 1e-5. Between them the block that
        owns a point is evaluated there, and where none is active, the pyramid interpolates the
        coarser level. Gradients are those of this piecewise function. Where a sample of the
        pyramid stands for several pixels (`Pyramid.step`), all points of a pixel have its value.

        Raises `ValueError` for another number of coordinates, or one outside [-1, 1].
        """
        xy = torch.as_tensor(xy)
        places = places_of(xy, self.spec.sides)
        coarser = self._coarser(0, places.device)
        values = evaluate(self.spec, 0, self._index[0], coarser, places)
        values = values.clamp(0, 1) if clip else values
        return values.reshape(*xy.shape[:-1], self.spec.n_channels)

    def at_pixels(self, index: ArrayLike | Tensor) -> Tensor:
        """Values `(..., C)` of pixels `(..., D)`, row first like the indices of an array.

        On one device they have the bits of `render`; the result is on the device of `index`.
        Raises `IndexError` for a number outside the image, negative ones among them, or no number.
        """
        index = torch.as_tensor(index)
        pixels = pixels_of(index, self.spec.sides)
        image = self._image(0, index.device)
        values = gather(self.spec.grid(0), image, pixels).clamp(0, 1)
        return values.reshape(*index.shape[:-1], self.spec.n_channels)

    def reconstruct(
        self, level: int = 0, region: Region | None = None, device: torch.device = CPU
    ) -> Tensor:
        """The unclipped reconstruction in a region, `(C, *S)` float32, on the device.

        Raises `ValueError` for no such level, a region outside it, or one too large for an array.
        """
        spec = self.spec
        if not 0 <= level < spec.n_levels:
            raise ValueError(f"level={level}: must be 0 (full size) to {spec.n_levels - 1}")
        grid = spec.grid(level)
        if region is None:
            region = whole(grid.sides)
        check_region(region, grid.sides)
        n_values = spec.n_channels * math.prod(sides_of(region))
        if n_values > _MAX_VALUES:
            raise ValueError(
                f"region={region}: {n_values} values are too many for one array, which may have "
                f"{_MAX_VALUES}; render a part, or write a file with python -m miner.render"
            )
        box = grid.around(region)
        prediction = self._prediction(level, device)
        rendered = render_level(spec, level, self._index[level], prediction, box)
        return rendered[(slice(None), *slices(region, box))].contiguous()

    def _prediction(self, level: int, device: torch.device) -> Signal:
        coarser, sides = self._coarser(level, device), self.spec.level_sides[level]
        if coarser is None:
            return zero_signal(self.spec.n_channels, sides, device)
        return ExpandedSignal(self.spec.pyramid, coarser, sides)

    def _coarser(self, level: int, device: torch.device) -> Signal | None:
        return None if self.spec.is_coarsest(level) else self._image(level + 1, device)

    def _image(self, level: int, device: torch.device) -> Signal:
        """A level, rendered where it is read."""
        read = partial(self.reconstruct, level, device=device)
        return SourceSignal(read, self.spec.n_channels, self.spec.level_sides[level], device)

    def to_module(self) -> "RepresentationModule":
        """A module of PyTorch that renders the same, with decoded parameters that train."""
        from miner.representation.module import RepresentationModule

        return RepresentationModule(self)

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

    All files are checked; parameters stay on the disk until they are rendered. Raises
    `RepresentationError` if the manifest or a shard is missing, damaged or foreign.
    """
    folder = Path(path)
    inner = folder / REPRESENTATION_FOLDER
    if (inner / MANIFEST).exists() and not (folder / MANIFEST).exists():
        folder = inner
    manifest = read_manifest(folder)
    files = ShardFolder(folder, manifest.spec)
    shards = {level: _open_level(files, level, names) for level, names in manifest.levels.items()}
    return Representation(manifest.spec, shards)


def _open_level(files: ShardFolder, level: int, checksums: Mapping[str, str]) -> list[Shard]:
    shards = [files.open(name) for name in checksums]
    for shard, (name, sha256) in zip(shards, checksums.items(), strict=True):
        if (shard.level, shard.file_name, shard.sha256) != (level, name, sha256):
            path = files.folder / name
            raise RepresentationError(f"{path}: not the shard that the manifest names")
    blocks = _blocks(shards)
    if len(blocks.unique()) != len(blocks):
        raise RepresentationError(f"{files.folder}: level {level} holds the same block twice")
    return shards


def _blocks(shards: Sequence[Shard]) -> Tensor:
    return torch.cat([torch.empty(0, dtype=torch.long), *(shard.blocks for shard in shards)])
