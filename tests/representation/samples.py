"""Representations of random blocks, without a fit, and ways to change their files consistently."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from miner.images.pixel_format import PixelFormat
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.heads import LinearHead
from miner.models.network import BlockMLP, BlockNetwork, Parameters
from miner.pyramids.pyramid import LaplacianPyramid, Pyramid
from miner.representation import LevelNetwork, Representation, Shard, Spec, load
from miner.representation.shard import ChunkStats, write_shard
from miner.representation.spec import Manifest
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage
from miner.support.errors import RepresentationError

STATS = ChunkStats(
    n_active=9, n_converged=2, n_fresh=3, n_diverged=0, seconds=0.5, curve=((10, 0.25, 1.5),)
)
FLOAT32, LAPLACIAN = Float32Storage(), LaplacianPyramid()
STORAGES = [FLOAT32, Float16Storage(), Int8Storage()]


def make_spec(
    sides: Sequence[int],
    n_levels: int = 3,
    storage: Storage = FLOAT32,
    pyramid: Pyramid = LAPLACIAN,
) -> Spec:
    """Patches of 4 pixels, two channels, and a width of its own for every level."""
    networks = [BlockMLP(CosineEncoding(2), Sine(), 3 + k, depth=2) for k in range(n_levels)]
    models = [LevelNetwork(network, LinearHead()) for network in networks]
    pixel_format = PixelFormat.of_values("uint8", 2)
    return Spec(tuple(sides), 2, 4, pyramid, storage, tuple(models), pixel_format)


def random_parameters(model: BlockNetwork, n_blocks: int, generator: torch.Generator) -> Parameters:
    """Numbers between -0.5 and 0.5, trained frequencies of 0.5 and more."""
    return {
        name: torch.rand(n_blocks, *shape, generator=generator) - (0.5 if shape else -0.5)
        for name, shape in model.shapes().items()
    }


def random_shard(spec: Spec, level: int, chunk: int, blocks: Tensor, seed: int = 0) -> Shard:
    """Networks for some blocks: of two widths in chunk 0, three in chunk 1, one in chunk 2, ..."""
    generator = torch.Generator().manual_seed(10_000 * seed + 100 * level + chunk)
    members = torch.arange(len(blocks)) % (2, 3, 1)[chunk % 3]
    widths = spec.model(level).model.width + torch.tensor([2, 0, -1])[members]
    stored = {
        width: spec.storage.encode(
            random_parameters(spec.model(level, width), int((widths == width).sum()), generator)
        )
        for width in widths.unique().tolist()
    }
    generations = torch.randint(0, 3, (len(blocks), 1), generator=generator)
    offsets = torch.randint(0, 4, (len(blocks), len(spec.sides)), generator=generator)
    frames = torch.cat([generations, offsets % 2**generations], dim=1)
    return Shard(level, chunk, blocks, frames, widths, stored, STATS)


def random_shards(spec: Spec, level: int, blocks_per_shard: int = 3, seed: int = 0) -> list[Shard]:
    """Two thirds of a level's blocks, in chunks, most of them with networks of several widths."""
    generator = torch.Generator().manual_seed(100 * seed + level)
    n_blocks = spec.grid(level).n_blocks
    n_active = -(-2 * n_blocks // 3)
    active = torch.randperm(n_blocks, generator=generator)[:n_active].sort().values
    chunks = enumerate(active.split(blocks_per_shard))
    return [random_shard(spec, level, chunk, blocks, seed) for chunk, blocks in chunks]


def random_representation(spec: Spec, seed: int = 0) -> Representation:
    """Random blocks at every level."""
    levels = range(spec.n_levels)
    return Representation(spec, {j: random_shards(spec, j, seed=seed) for j in levels})


SPEC = make_spec((13, 9), n_levels=2)
SHOWN = random_representation(SPEC)
SMALL = random_representation(make_spec((3, 2), n_levels=1))  # one block: most bytes matter
MANIFEST, SHARD = "manifest.json", "level00-chunk00001.safetensors"
Edit = Callable[[dict[str, Any]], object]


def refused(folder: Path, message: str | None = None) -> None:
    """Loading fails as it should."""
    with pytest.raises(RepresentationError, match=message):
        load(folder)


def edit_manifest(folder: Path, edit: Edit) -> None:
    """Change a manifest and make its checksum fit again."""
    content = json.loads((folder / MANIFEST).read_text())
    del content["sha256"]
    edit(content)
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(content))


def edit_shard(folder: Path, edit: Callable[[Parameters], object]) -> None:
    """Change the tensors of `SHARD` and make its checksum, and the manifest's, fit again."""
    with safe_open(folder / SHARD, framework="pt") as file:
        metadata, names = dict(file.metadata()), file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    del metadata["sha256"]
    edit(tensors)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    metadata["tensors_sha256"] = digest.hexdigest()
    metadata["sha256"] = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
    save_file(tensors, folder / SHARD, metadata)
    edit_manifest(
        folder, lambda content: content["levels"]["0"].update({SHARD: metadata["sha256"]})
    )


def save_shards(folder: Path, *shards: Shard) -> Path:
    """Write level 0 with whatever shards, and a manifest that fits them."""
    checksums = {s.file_name: write_shard(folder, s).sha256 for s in shards}
    Manifest(SPEC, {0: checksums}).write(folder)
    return folder
