"""Representations of random blocks, without a fit."""

from collections.abc import Sequence

import torch
from torch import Tensor

from miner.images import PixelFormat
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.heads import LinearHead
from miner.models.network import BlockMLP, BlockNetwork
from miner.models.parameters import Parameters
from miner.pyramids.pyramid import LaplacianPyramid, Pyramid
from miner.representation import ChunkStats, Representation, Shard, Spec
from miner.representation.storage import Float32Storage, Storage

STATS = ChunkStats(
    n_active=9, n_converged=2, n_fresh=3, n_diverged=0, seconds=0.5, curve=((10, 0.25, 1.5),)
)
FLOAT32, LAPLACIAN = Float32Storage(), LaplacianPyramid()


def make_spec(
    sides: Sequence[int],
    n_levels: int = 3,
    storage: Storage = FLOAT32,
    pyramid: Pyramid = LAPLACIAN,
) -> Spec:
    """Patches of 4 pixels, two channels, and a width of its own for every level."""
    models = [
        BlockNetwork(BlockMLP(CosineEncoding(2), Sine(), 3 + k, 2, len(sides)), LinearHead(), 2)
        for k in range(n_levels)
    ]
    pixel_format = PixelFormat.of_values("uint8", 2)
    return Spec(tuple(sides), 2, 4, pyramid, storage, tuple(models), pixel_format)


def random_parameters(model: BlockNetwork, n_blocks: int, generator: torch.Generator) -> Parameters:
    """Numbers between -0.5 and 0.5, trained frequencies of 0.5 and more."""
    return {
        name: torch.rand(n_blocks, *shape, generator=generator) - (0.5 if shape else -0.5)
        for name, shape in model.shapes().items()
    }


def mixed_widths(width: int, chunk: int, n_blocks: int) -> Tensor:
    """Two widths in the first chunk, three in the second, one in the third, and so on."""
    n_widths = (2, 3, 1)[chunk % 3]
    return width + torch.tensor([2, 0, -1])[torch.arange(n_blocks) % n_widths]


def random_frames(n_blocks: int, n_axes: int, generator: torch.Generator) -> Tensor:
    """Boxes of generation 0 to 2."""
    generations = torch.randint(0, 3, (n_blocks, 1), generator=generator)
    offsets = torch.randint(0, 4, (n_blocks, n_axes), generator=generator) % 2**generations
    return torch.cat([generations, offsets], dim=1)


def random_shard(spec: Spec, level: int, chunk: int, blocks: Tensor, seed: int = 0) -> Shard:
    """Networks with random numbers for some blocks of a level."""
    generator = torch.Generator().manual_seed(10_000 * seed + 100 * level + chunk)
    widths = mixed_widths(spec.model(level).mlp.width, chunk, len(blocks))
    stored = {
        width: spec.storage.encode(
            random_parameters(spec.model(level, width), int((widths == width).sum()), generator)
        )
        for width in widths.unique().tolist()
    }
    frames = random_frames(len(blocks), len(spec.sides), generator)
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
