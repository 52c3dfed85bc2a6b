"""The product of a fit: every level's active blocks, rendered at any level and in any region."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from miner.files import written_whole
from miner.pyramid.prediction import halo, predict
from miner.regions import Region, whole
from miner.representation.render import check_region, render_level, whole_patches
from miner.representation.shard import RepresentationError, Shard, read_shard, write_shard
from miner.representation.spec import Spec

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "miner-representation", 2


class MinerRepresentation:
    """A pyramid of block networks.

    Levels without shards say nothing beyond the coarser ones, so a representation of which only
    the coarse levels are fitted renders too.
    """

    def __init__(self, spec: Spec, shards: Mapping[int, Sequence[Shard]]) -> None:
        """Take the spec and the shards of each level."""
        self.spec = spec
        self.shards = {level: tuple(found) for level, found in shards.items()}

    @property
    def n_parameters(self) -> int:
        """Stored numbers of all block networks."""
        return sum(self.level_parameters(level) for level in self.shards)

    def level_parameters(self, level: int) -> int:
        """Stored numbers of one level's block networks."""
        groups = [group for shard in self.shards.get(level, ()) for group in shard.groups()]
        return sum(
            len(members) * self.spec.model(level, width).n_parameters
            for width, members, _ in groups
        )

    def active_blocks(self, level: int) -> Tensor:
        """Numbers of the blocks of a level that have a network, ascending."""
        numbers = [shard.blocks for shard in self.shards.get(level, ())]
        return torch.cat([torch.empty(0, dtype=torch.long), *numbers]).sort().values

    def render(self, level: int = 0, region: Region | None = None) -> np.ndarray:
        """The image at a level, clipped to the unit range: `(C, *S)` float32.

        `region` is ((first, end), ...) in that level's pixels, rows first; None is the whole level.
        """
        return self.reconstruct(level, region).clamp(0, 1).numpy()

    def reconstruct(self, level: int = 0, region: Region | None = None) -> Tensor:
        """The unclipped reconstruction r_j in a region, `(C, *S)` float32.

        Raises:
            ValueError: no such level, or a region outside it.
        """
        spec = self.spec
        if not 0 <= level < spec.n_levels:
            raise ValueError(f"level={level}: must be 0 (full size) to {spec.n_levels - 1}")
        sides = spec.level_sides[level]
        if region is None:
            region = whole(sides)
        check_region(region, sides)
        box = whole_patches(region, spec.grid(level))
        prediction = self._prediction(level, box)
        first = tuple(low for low, _ in box)
        rendered = render_level(spec, level, self.shards.get(level, ()), prediction, first)
        crop = [slice(r[0] - b[0], r[1] - b[0]) for r, b in zip(region, box, strict=True)]
        return rendered[(slice(None), *crop)].contiguous()

    def _prediction(self, level: int, box: Region) -> Tensor:
        if self.spec.is_coarsest(level):
            return torch.zeros(self.spec.n_channels, *(high - low for low, high in box))
        around = halo(box, self.spec.level_sides[level + 1])
        coarser = self.reconstruct(level + 1, around)
        return predict(coarser, tuple(low for low, _ in around), box)

    def save(self, folder: str | Path) -> Path:
        """Write all shards and the manifest into a folder, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        checksums = {
            level: {shard.file_name: write_shard(folder, shard) for shard in found}
            for level, found in self.shards.items()
        }
        write_manifest(folder, self.spec, checksums)
        return folder


def write_manifest(folder: Path, spec: Spec, checksums: Mapping[int, Mapping[str, str]]) -> None:
    """Write the manifest of the finished levels: level to shard file to checksum."""
    content: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "spec": spec.to_json(),
        "levels": {str(level): dict(found) for level, found in sorted(checksums.items())},
    }
    content["sha256"] = _digest(content)
    with written_whole(folder / MANIFEST) as scratch:
        scratch.write_text(json.dumps(content, indent=1))


def load(path: str | Path) -> MinerRepresentation:
    """Load a representation from its folder, or from the folder of the run that made it.

    Needs no configuration and imports nothing that the files name.

    Raises:
        RepresentationError: the manifest or a shard is missing, damaged or foreign.
    """
    folder = Path(path)
    if not (folder / MANIFEST).exists() and (folder / "representation" / MANIFEST).exists():
        folder = folder / "representation"
    content = _read_manifest(folder / MANIFEST)
    try:
        spec = Spec.from_json(content["spec"])
        levels = {int(level): dict(found) for level, found in content["levels"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RepresentationError(f"{folder / MANIFEST}: {error}") from error
    shards = {level: _read_level(folder, spec, level, found) for level, found in levels.items()}
    return MinerRepresentation(spec, shards)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RepresentationError(f"{path}: no representation here; give its folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RepresentationError(f"{path}: not a readable manifest ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise RepresentationError(f"{path}: not the manifest of a MINER representation")
    if content.get("version") != _VERSION:
        raise RepresentationError(
            f"{path}: format version {content.get('version')}, this program reads {_VERSION}"
        )
    if content.pop("sha256", None) != _digest(content):
        raise RepresentationError(f"{path}: the manifest was changed after it was written")
    return content


def _read_level(folder: Path, spec: Spec, level: int, files: dict[str, str]) -> list[Shard]:
    shards = []
    if not 0 <= level < spec.n_levels:
        raise RepresentationError(f"{folder}: level {level} is not one of {spec.n_levels}")
    for name, expected in files.items():
        if Path(name).name != name or name in ("", "..", "."):
            raise RepresentationError(f"{folder}: shard {name!r} lies outside the folder")
        shard, checksum = read_shard(folder / name, spec)
        if checksum != expected or shard.level != level or shard.file_name != name:
            raise RepresentationError(f"{folder / name}: not the shard that the manifest names")
        shards.append(shard)
    blocks = torch.cat([torch.empty(0, dtype=torch.long), *(s.blocks for s in shards)])
    if len(blocks.unique()) != len(blocks):
        raise RepresentationError(f"{folder}: two shards of level {level} hold the same block")
    return shards


def _digest(content: dict[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
