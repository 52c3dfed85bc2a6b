"""Where the hidden layers of blocks start: random draws, or their parents."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from miner.models.network import Parameters, concatenate, moved, repeat, select, where
from miner.representation.representation import ShardIndex
from miner.representation.spec import Spec


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by a key such as `(seed, level)` or `(seed, level, step)`."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def pixel_subset(n_pixels: int, n_drawn: int, step: int, *key: int | str) -> Tensor:
    """Pixel numbers of one step: each pass visits all pixels once, in another order."""
    steps_per_pass = -(-n_pixels // n_drawn)
    turn, part = divmod(step, steps_per_pass)
    order = torch.randperm(n_pixels, generator=generator(*key, turn))
    return order[part * n_drawn : (part + 1) * n_drawn]


class Parents(NamedTuple):
    """The coarser blocks that cover some blocks, where one of the same width `exists` `(B,)`.

    Frames `(B, 1 + D)` are (generation, offset); `parity` `(B, D)` is the half that a block covers.
    """

    exists: Tensor
    hidden: Parameters
    frames: Tensor
    parity: Tensor


class InitialState(NamedTuple):
    """Hidden parameters on the device that trains them; frames and a mask `(B,)` on the host."""

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
        return _start(drawn, parents, inherits=torch.zeros_like(parents.exists))


@dataclass(frozen=True)
class SharedWeights(Weights):
    """Parents' layers, weights and biases times `gain` (MINER's algorithm 1, arXiv 2202.03532)."""

    gain: float = 1.0  # 0.5 in the code of the paper's authors

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Scaled copies of the parents, the draw where there is none."""
        scaled = {
            name: tensor * self.gain if name.endswith((".weight", ".bias")) else tensor
            for name, tensor in parents.hidden.items()
        }
        return _start(drawn, parents._replace(hidden=scaled), inherits=parents.exists)


@dataclass(frozen=True)
class ParentFrameWeights(Weights):
    """A block keeps its parent's hidden features, by seeing its part of the parent's box.

    After `max_generations` in one frame a block starts fresh, with its own box.
    """

    max_generations: int = 2

    def start(self, drawn: Mapping[str, Tensor], parents: Parents) -> InitialState:
        """Copies of the parents with their frames halved."""
        inherits = parents.exists & (parents.frames[:, 0] < self.max_generations)
        generation = parents.frames[:, :1] + 1
        offset = 2 * parents.frames[:, 1:] + parents.parity
        frames = torch.where(inherits[:, None], torch.cat([generation, offset], dim=1), 0)
        return _start(drawn, parents, inherits)._replace(frames=frames)


def _start(drawn: Mapping[str, Tensor], parents: Parents, inherits: Tensor) -> InitialState:
    """Copies of the parents where a mask `(B,)` holds, else of the draw; no frames."""
    hidden = repeat(drawn, len(inherits))
    if inherits.any():
        device = next(iter(hidden.values())).device
        hidden = where(inherits.to(device), parents.hidden, hidden)
    return InitialState(hidden, torch.zeros_like(parents.frames), ~inherits)


def find_parents(
    spec: Spec, level: int, width: int, blocks: Tensor, coarser: ShardIndex, device: torch.device
) -> Parents:
    """The stored parents of blocks `(B,)` of one width, decoded: the one at q // 2 for each q."""
    positions = spec.grid(level).positions(blocks)
    above, parity = positions // 2, positions % 2
    found: list[tuple[Tensor, Tensor, Parameters]] = []
    if not spec.is_coarsest(level):
        wanted = spec.grid(level + 1).numbers(above)
        for shard in coarser.near(above.amin(0), above.amax(0) + 1):
            has_width = shard.widths == width
            is_parent = torch.isin(shard.blocks, wanted) & has_width
            if is_parent.any():
                stored = select(shard.stored[width], is_parent[has_width])
                found.append((shard.blocks[is_parent], shard.frames[is_parent], stored))
    if not found:
        no_frames = torch.zeros(len(blocks), 1 + len(spec.sides), dtype=torch.long)
        return Parents(torch.zeros(len(blocks), dtype=torch.bool), {}, no_frames, parity)
    numbers, frames, parameters = zip(*found, strict=True)
    known = torch.cat(numbers)
    order = known.argsort()
    row = order[torch.searchsorted(known[order], wanted).clamp(max=len(known) - 1)]
    decoded = spec.storage.decode(moved(select(concatenate(parameters), row), device))
    hidden = {name: decoded[name] for name in spec.model(level, width).mlp.shapes()}
    return Parents(known[row] == wanted, hidden, torch.cat(frames)[row], parity)
