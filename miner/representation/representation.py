"""The product of a fit: every level's active blocks, rendered at any level and in any region."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from miner.models.network import BlockNetwork, Parameters, moved, select
from miner.pyramids.resample import ExpandedSignal, zero_signal
from miner.representation.shard import Shard, write_shard
from miner.representation.spec import MANIFEST, Manifest, Spec, read_manifest, write_manifest
from miner.representation.store import ShardFolder
from miner.signals.grid import PatchGrid, coordinates
from miner.signals.regions import Region, sides_of, slices, whole
from miner.signals.signal import CPU, Signal, SourceSignal
from miner.support.errors import RepresentationError

REPRESENTATION_FOLDER = "representation"  # in the folder of the run that makes it
_MAX_VALUES = 2**32  # 16 GiB
_BATCH_PIXELS = 2**18
_DEVICE_BATCH_PIXELS = 2**20  # fewer leave a GPU idle

Outputs = Callable[[BlockNetwork, Parameters, Tensor], Tensor]
"""Gives values `(B, C, P)` of a network's decoded blocks at encoded coordinates `(E, P)`."""


def check_region(region: Region, sides: tuple[int, ...]) -> None:
    """Raise `ValueError` for a box that is not inside a level."""
    if len(region) != len(sides) or not all(
        0 <= low < high <= side for (low, high), side in zip(region, sides, strict=True)
    ):
        raise ValueError(f"region={region}: must lie within {sides}, as (first, end) pairs")


class ShardIndex:
    """All shards of a level, found by the positions of their blocks."""

    def __init__(self, grid: PatchGrid, shards: Sequence[Shard]) -> None:
        self._shards = [shard for shard in shards if len(shard.blocks)]
        positions, n_axes = [grid.positions(s.blocks) for s in self._shards], len(grid.sides)
        self._first = torch.tensor([p.amin(0).tolist() for p in positions]).reshape(-1, n_axes)
        self._last = torch.tensor([p.amax(0).tolist() for p in positions]).reshape(-1, n_axes)

    def near(self, first: Sequence[int] | Tensor, end: Sequence[int] | Tensor) -> list[Shard]:
        """Shards that may have blocks in a box of patch coordinates, ends exclusive."""
        begins_before = (self._first < torch.as_tensor(end)).all(-1)
        ends_after = (self._last >= torch.as_tensor(first)).all(-1)
        return [self._shards[n] for n in torch.nonzero(begins_before & ends_after).flatten()]


def by_row(rows: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The distinct rows of `(B, N)`, ascending, and the numbers of the blocks that have each."""
    if len(rows) and bool((rows == rows[0]).all()):  # as nearly always; sorting takes longer
        yield tuple(rows[0].tolist()), torch.arange(len(rows))
        return
    distinct, membership = torch.unique(rows, dim=0, return_inverse=True)
    for number, row in enumerate(distinct.tolist()):
        yield tuple(row), torch.nonzero(membership == number).flatten()


@torch.no_grad()
def render_level(
    spec: Spec,
    level: int,
    shards: ShardIndex,
    prediction: Signal,
    region: Region,
    outputs: Outputs = BlockNetwork.outputs,
) -> Tensor:
    """Merge a level's active blocks into its prediction in a box of whole patches, `(C, *box)`."""
    box, device = PatchGrid(sides_of(region), spec.patch_size), prediction.device
    patch, step = (spec.patch_size,) * len(spec.sides), spec.pyramid.step
    samples = tuple(-(-side // step) for side in patch)
    corner = torch.tensor([low for low, _ in region]) // spec.patch_size
    tiled = box.tiled(prediction.read(region))
    batch_pixels = _BATCH_PIXELS if device.type == "cpu" else _DEVICE_BATCH_PIXELS
    for shard in shards.near(corner, corner + torch.tensor(box.counts)):
        positions = spec.grid(level).positions(shard.blocks) - corner
        inside = ((positions >= 0) & (positions < torch.tensor(box.counts))).all(-1)
        if not inside.any():
            continue
        for width, stored in shard.stored.items():
            has_width = shard.widths == width
            rows = torch.nonzero(inside & has_width).flatten()
            parameters = spec.storage.decode(moved(select(stored, inside[has_width]), device))
            network = spec.model(level, width)
            for frame, members in by_row(shard.frames[rows]):
                points = coordinates(spec.patch_size, patch, frame, step)
                encoded = network.model.encode(points).to(device)
                for batch in members.split(max(1, batch_pixels // encoded.shape[1])):
                    values = outputs(network, select(parameters, batch.to(device)), encoded)
                    tiles = tuple(positions[rows[batch]].T.to(device))
                    values = values.unflatten(-1, samples)
                    tiled[tiles] = spec.pyramid.merge(tiled[tiles], values)
    return box.joined(tiled)


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
        n_channels, sides = self.spec.n_channels, self.spec.level_sides
        if self.spec.is_coarsest(level):
            return zero_signal(n_channels, sides[level], device)
        read = partial(self.reconstruct, level + 1, device=device)
        coarser = SourceSignal(read, n_channels, sides[level + 1], device)
        return ExpandedSignal(self.spec.pyramid, coarser, sides[level])

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
