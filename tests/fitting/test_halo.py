"""A loss that looks at a block's surroundings: what it sees there, and what that depends on."""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import pytest
import torch
from block_problems import finish, flat_and_busy, noise, same_bits, stored
from problems import SETTINGS, fit, fitter
from torch import Tensor

from miner.api import compose_settings
from miner.config.build import build_settings
from miner.fitting.backend import EagerBackend
from miner.fitting.capacity import Capacity, TargetErrorCapacity, UniformCapacity
from miner.fitting.criteria import AbsoluteMSEPruning, Loss, NoPruning
from miner.fitting.patches import Surroundings
from miner.fitting.steps import BlockProblem, BlockTrainer, EagerTrainer
from miner.pyramids import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.signals.grid import PatchGrid
from miner.support.errors import ConfigError

PICTURE = flat_and_busy(40, 37)
CAPACITIES = [UniformCapacity(), TargetErrorCapacity(probe_steps=5)]


@dataclass(frozen=True)
class Seen(Loss):
    """Keeps the residuals that it gets."""

    halo = 2
    windows: list[Tensor] = field(default_factory=list)

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        self.windows.append(residual.detach())
        return mse


@dataclass(frozen=True)
class Smooth(Loss):
    """Holds differences of the error down, within the block and to its neighbours."""

    halo = 1

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        differences = [residual.diff(dim=axis).square().flatten(1).mean(1) for axis in (2, 3)]
        return mse + 0.1 * sum(differences[1:], differences[0])


@pytest.mark.parametrize("pyramid", [GaussianPyramid(), LaplacianPyramid()])
@pytest.mark.parametrize(("sides", "corner"), [((19, 14), (2, 1)), ((9, 8, 13), (1, 0, 2))])
def test_a_block_sees_its_surroundings_as_a_walk_over_pixels_does(
    pyramid: Pyramid, sides: tuple[int, ...], corner: tuple[int, ...]
) -> None:
    grid, loss = PatchGrid(sides, 4), Seen()
    signal, predicted, fitted = noise(3, 2, *sides)
    block = grid.numbers(torch.tensor([corner]))
    chunk = torch.cat([block - 1, block])  # the right neighbour is in another chunk
    levels = signal, predicted
    around = Surroundings(grid, chunk, 2, lambda blocks: [grid.cut(s, blocks) for s in levels])
    valid = tuple(grid.valid_sizes(block)[0].tolist())
    now: dict[int, tuple[Loss, Tensor]] = {}
    for one in (block, block - 1):  # fitted to `fitted`, all targets being met
        pixels = [grid.cut(level, one)[(..., *map(slice, valid))] for level in (fitted, predicted)]
        real = grid.cut(signal, one)[(..., *map(slice, valid))]
        targets = pyramid.target(pixels[0], pixels[1]).flatten(2)
        bound = around.of(loss, one, pyramid, targets, real, pixels[1])
        bound(torch.zeros_like(targets), torch.zeros(1))
        now[int(one)] = (bound, targets)
    around.exchange()
    bound, targets = now[int(block)]
    bound(torch.zeros_like(targets), torch.zeros(1))
    expected = torch.zeros_like(loss.windows[-1])
    for offset in product(*(range(-2, size + 2) for size in valid)):
        at = [4 * c + o for c, o in zip(corner, offset, strict=True)]
        inside = [min(max(place, 0), side - 1) for place, side in zip(at, sides, strict=True)]
        number = int(grid.numbers(torch.tensor([inside]) // 4))
        values = fitted if number in now else predicted
        place = (0, slice(None), *(o + 2 for o in offset))
        expected[place] = (values - signal)[(slice(None), *inside)]
    torch.testing.assert_close(loss.windows[-1], expected, atol=1e-6, rtol=0)


def smoothed(**changes: Any) -> list[Tensor]:
    """A fit of levels in chunks of 7 blocks, some of which converge early and some are refitted."""
    changes = {"blocks_per_shard": 7, "max_steps": 12, "max_mse": 3e-3} | changes
    return stored(fit(PICTURE, loss=Smooth(), pruning=AbsoluteMSEPruning(3), **changes))


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_a_fit_does_not_depend_on_the_blocks_that_memory_holds(capacity: Capacity) -> None:
    few, many = (smoothed(capacity=capacity, max_memory_gib=gib) for gib in (1e-9, 1.0))
    for found, expected in zip(few, many, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Breaking(EagerTrainer):
    """One block has no numbers after the first check, until it is fitted again."""

    def advance(self, n_steps: int) -> None:
        if self.step == 3 and self.settings.rate == 1.0:
            is_it = self.targets[:, :1, :1] == PICTURE[0, 16, 16]
            self.targets = torch.where(is_it, torch.nan, self.targets)
        super().advance(n_steps)


class BreakingBackend(EagerBackend):
    """Plain PyTorch, for one block too hard."""

    def trainer(self, problem: BlockProblem) -> EagerTrainer:
        return Breaking(problem)


def test_neighbours_of_a_block_that_diverges_see_it_as_it_was() -> None:
    changes: dict[str, Any] = {"pyramid": LaplacianPyramid(1), "pruning": NoPruning(3)}
    changes |= {"loss": Smooth(), "max_steps": 12, "backend": BreakingBackend()}
    alone, together = (fit(PICTURE, max_memory_gib=gib, **changes) for gib in (1e-9, 1.0))
    assert [shard.stats.n_diverged for shard in together.shards[0]] == [1]
    for found, expected in zip(stored(alone), stored(together), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_chunk_depends_on_no_other() -> None:
    changes: dict[str, Any] = {"loss": Smooth(), "blocks_per_shard": 7, "max_steps": 12}
    running = fitter(PICTURE, **changes)
    finish(running, running.start_level(1))
    level = running.start_level(0)
    last = level.fit_chunk(len(level.chunks) - 1)
    all_chunks = [level.fit_chunk(chunk) for chunk in range(len(level.chunks))]
    same_bits(last.stored, all_chunks[-1].stored)


def test_neighbours_in_a_chunk_are_seen() -> None:
    apart, together = (smoothed(blocks_per_shard=n, capacity=CAPACITIES[0]) for n in (1, 100))
    assert len(apart) != len(together)
    changes: dict[str, Any] = {"pyramid": replace(SETTINGS.pyramid, n_levels=1), "max_steps": 12}
    one = fit(PICTURE, loss=Smooth(), blocks_per_shard=1, **changes).reconstruct()
    all_of_them = fit(PICTURE, loss=Smooth(), blocks_per_shard=100, **changes).reconstruct()
    assert float((one - all_of_them).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fitting.batch_pixels": 100}, r"Far.*whole blocks; set fitting.batch_pixels=all"),
        ({"patch_size": 8}, r"Far.*halo=9 must be a whole number of pixels, 0 to patch_size=8"),
    ],
)
def test_what_a_halo_cannot_have_is_refused(changes: dict[str, Any], message: str) -> None:
    config = compose_settings({"loss": "mse", "loss._target_": "test_halo.Far", **changes})
    with pytest.raises(ConfigError, match=message):
        build_settings(config)


@dataclass(frozen=True)
class Far(Smooth):
    """Looks beyond small patches."""

    halo: int = 9


@pytest.mark.parametrize("halo", ["'1'", -1, 1.5])
def test_a_halo_that_counts_no_pixels_is_refused(halo: object) -> None:
    own = {"loss": "mse", "loss._target_": "test_halo.Far", "+loss.halo": halo}
    with pytest.raises(ConfigError, match=r"^loss=Far\(.* must be a whole number of pixels"):
        build_settings(compose_settings(own))


@dataclass(frozen=True)
class Undefined(Smooth):
    """Gives NaN."""

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        return torch.nan * super().__call__(residual, mse)


def test_what_is_said_of_a_loss_with_a_halo_has_its_name_and_no_tensors() -> None:
    with pytest.raises(ConfigError, match=r"^loss=Undefined\(\): it or its derivative is NaN"):
        fitter(PICTURE, loss=Undefined())


class Tight(EagerBackend):
    """Has memory for four blocks at once."""

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        if len(problem.targets) > 4:
            raise torch.OutOfMemoryError
        return super().trainer(problem)


def test_where_memory_runs_out_the_remedy_is_said() -> None:
    with pytest.raises(ConfigError, match=r"^fitting\.blocks_per_shard: .* take fewer$"):
        fit(PICTURE, loss=Smooth(), backend=Tight())
