"""Where the hidden layers of blocks start: random draws, or their parents."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from miner.models.parameters import Parameters, concatenate, moved, repeat, select, where
from miner.representation.render import ShardIndex
from miner.representation.spec import Spec


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by a key such as `(seed, level)` or `(seed, level, step)`."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def pixel_subset(n_pixels: int, n_drawn: int, step: int, *key: int | str) -> Tensor:
    """Pixel numbers of one step, drawn without replacement.

    A pass visits every pixel once, `n_drawn` at a time; the next pass has another order.
    """
    steps_per_pass = -(-n_pixels // n_drawn)
    turn, part = divmod(step, steps_per_pass)
    order = torch.randperm(n_pixels, generator=generator(*key, turn))
    return order[part * n_drawn : (part + 1) * n_drawn]


@dataclass(frozen=True)
class Parents:
    """The coarser blocks that cover some blocks of a level.

    `exists` `(B,)` says which parents are active and have the same shapes; rows of `hidden` and
    `frames` `(B, 1 + D)` (generation, offset) mean something only there. `parity` `(B, D)` says
    which half of its parent a block covers.
    """

    exists: Tensor
    hidden: Parameters
    frames: Tensor
    parity: Tensor


@dataclass(frozen=True)
class InitialState:
    """Hidden parameters `(B, ...)`, frames `(B, 1 + D)`, and which blocks start fresh `(B,)`.

    The parameters lie on the device that trains them, all else in the host's memory.
    """

    hidden: Parameters
    frames: Tensor
    is_fresh: Tensor


@dataclass(frozen=True)
class Weights(ABC):
    """A way of starting the hidden layers of a level. `inherits` False spares finding parents."""

    inherits: ClassVar[bool] = True

    @abstractmethod
    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Start blocks from the level's draw for one block, or from their parents."""


@dataclass(frozen=True)
class FreshWeights(Weights):
    """Every block starts from its level's random draw."""

    inherits: ClassVar[bool] = False

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Copies of the draw."""
        return _start(drawn, parents, inherits=torch.zeros_like(parents.exists), gain=1.0)


@dataclass(frozen=True)
class SharedWeights(Weights):
    """A block starts from its parent's hidden layers, weights and biases times `gain`.

    The weight sharing of MINER's algorithm 1 (arXiv 2202.03532); its authors' code uses 0.5.
    """

    gain: float = 1.0

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Scaled copies of the parents, the draw where there is none."""
        return _start(drawn, parents, inherits=parents.exists, gain=self.gain)


@dataclass(frozen=True)
class ParentFrameWeights(Weights):
    """A block keeps its parent's hidden features exactly, by seeing its part of the parent's box.

    After `max_generations` in one frame a block starts fresh, in a frame of its own.
    """

    max_generations: int = 2

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Copies of the parents with their frames halved."""
        inherits = parents.exists & (parents.frames[:, 0] < self.max_generations)
        start = _start(drawn, parents, inherits, gain=1.0)
        generation = parents.frames[:, :1] + 1
        offset = 2 * parents.frames[:, 1:] + parents.parity
        frames = torch.cat([generation, offset], dim=1)
        return InitialState(start.hidden, torch.where(inherits[:, None], frames, 0), start.is_fresh)


def _start(
    drawn: Mapping[str, Tensor], parents: Parents, inherits: Tensor, gain: float
) -> InitialState:
    hidden = repeat(drawn, len(inherits))
    if inherits.any():
        there = inherits.to(next(iter(hidden.values())).device)
        hidden = where(there, _scaled(parents.hidden, gain), hidden)
    return InitialState(hidden, torch.zeros_like(parents.frames), ~inherits)


def _scaled(hidden: Mapping[str, Tensor], gain: float) -> Parameters:
    affine = ("weight", "bias")
    return {n: t * gain if n.rsplit(".", 1)[-1] in affine else t for n, t in hidden.items()}


def find_parents(
    spec: Spec,
    level: int,
    width: int,
    blocks: Tensor,
    coarser: ShardIndex,
    device: torch.device,
) -> Parents:
    """The stored parents of blocks `(B,)` of one width; none at the coarsest or of another shape.

    The parent of the block at position q is the coarser block at q // 2. Only shards that hold
    parents are read. Their numbers are decoded on the device.
    """
    positions = spec.grid(level).positions(blocks)
    groups = list(_groups(spec, level, width, positions // 2, coarser))
    if not groups:
        return Parents(
            exists=torch.zeros(len(blocks), dtype=torch.bool),
            hidden={},
            frames=torch.zeros(len(blocks), 1 + len(spec.sides), dtype=torch.long),
            parity=positions % 2,
        )
    wanted = spec.grid(level + 1).numbers(positions // 2)
    known, frames = (torch.cat(parts) for parts in list(zip(*groups, strict=True))[:2])
    order = known.argsort()
    place = torch.searchsorted(known[order], wanted).clamp(max=len(known) - 1)
    row = order[place]
    stored = select(concatenate([stored for _, _, stored in groups]), row)
    decoded = spec.storage.decode(moved(stored, device))
    return Parents(
        exists=known[row] == wanted,
        hidden={name: decoded[name] for name in spec.model(level, width).mlp.shapes()},
        frames=frames[row],
        parity=positions % 2,
    )


def _groups(
    spec: Spec, level: int, width: int, places: Tensor, coarser: ShardIndex
) -> Iterator[tuple[Tensor, Tensor, Parameters]]:
    """Numbers, frames and stored tensors of the parents in each shard; `places` `(B, D)`."""
    if spec.is_coarsest(level):
        return
    wanted = spec.grid(level + 1).numbers(places)
    for shard in coarser.near(places.amin(0).tolist(), (places.amax(0) + 1).tolist()):
        is_parent = torch.isin(shard.blocks, wanted) & (shard.widths == width)
        if is_parent.any():
            kept = is_parent[shard.widths == width]
            stored = select(shard.stored[width], kept)
            yield shard.blocks[is_parent], shard.frames[is_parent], stored
