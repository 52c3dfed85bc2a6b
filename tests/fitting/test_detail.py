"""What levels lose, and which of them is the cheapest for a region."""

import math

import pytest
import torch
from block_problems import flat_and_busy
from problems import fitter
from torch import Tensor

from miner.fitting.partition import choose_levels, lost_detail
from miner.fitting.selection import AdaptiveSelection, PerLevelSelection, needed_share
from miner.pyramids.pyramid import GaussianPyramid
from miner.representation.spec import Spec
from miner.signals.signal import ArraySignal
from miner.support.communication import SINGLE_PROCESS

PYRAMID = GaussianPyramid(5)
PICTURES = {"2d": flat_and_busy(45, 70), "3d": flat_and_busy(18, 20, 40)}
every_picture = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)


def levels_of(picture: Tensor) -> list[Tensor]:
    levels = [picture]
    for _ in range(PYRAMID.n_levels - 1):
        levels.append(PYRAMID.reduce(levels[-1]))
    return levels


def spec_of(picture: Tensor, patch_size: int = 8) -> Spec:
    return fitter(picture, pyramid=PYRAMID, patch_size=patch_size).spec


@pytest.mark.parametrize("patch_size", [8, 6])
@every_picture
def test_loss_is_the_error_of_reducing_and_expanding(picture: Tensor, patch_size: int) -> None:
    levels, spec = levels_of(picture), spec_of(picture, patch_size)
    signals = [ArraySignal(level.numpy()) for level in levels]
    found = lost_detail(spec, signals, 16, SINGLE_PROCESS)
    grid = spec.grid(0)
    assert len(found) == 4 and all(len(lost) == grid.n_blocks for lost in found)
    for level, lost in enumerate(found[:2]):  # 6 is halved once: level 2 would share its cells
        finer, coarser = levels[level : level + 2]
        error = (PYRAMID.expand(coarser, tuple(finer.shape[1:])) - finer).square()
        side = patch_size >> level
        for block in range(grid.n_blocks):
            box = tuple(
                slice(n * side, (n + 1) * side) for n in grid.positions(torch.tensor([block]))[0]
            )
            expected = error[(slice(None), *box)].double().mean()
            torch.testing.assert_close(lost[block], expected)


@every_picture
def test_cheapest_level_is_that_of_trying_all(picture: Tensor) -> None:
    spec, selection, max_mse = spec_of(picture), AdaptiveSelection(), 1e-3
    key = torch.Generator().manual_seed(0)
    n_blocks = spec.grid(0).n_blocks
    lost = [10 ** (4 * torch.rand(n_blocks, generator=key).double() - 6) for _ in range(4)]
    found = choose_levels(selection, spec, lost, max_mse)
    weights = spec.grid(0).valid_sizes(torch.arange(n_blocks)).prod(-1).double()
    positions = spec.grid(0).positions(torch.arange(n_blocks))

    def losses(level: int, block: Tensor) -> Tensor:
        inside = (positions >> level == block).all(-1)
        total = torch.stack([torch.zeros(n_blocks).double(), *lost]).cumsum(0)
        return (total * weights)[level:, inside].sum(1) / weights[inside].sum()

    def least(level: int, block: Tensor) -> tuple[float, bool]:
        """The least cost of a block's pixels, and whether it is that of the block."""
        cost = float(selection.cost(losses(level, block)[:, None], max_mse, len(spec.sides)))
        if level == 0:
            return cost, True
        grid = spec.grid(level - 1)
        finer = grid.positions(torch.arange(grid.n_blocks))
        children = finer[(finer // 2 == block).all(-1)]
        below = math.fsum(least(level - 1, child)[0] for child in children)
        return min(cost, below), cost <= below

    for level, (_, is_cheapest) in enumerate(found):
        blocks = spec.grid(level).positions(torch.arange(spec.grid(level).n_blocks))
        assert is_cheapest.tolist() == [least(level, block)[1] for block in blocks]
    assert sum(int(one.is_cheapest.sum()) for one in found[1:]) > 0


@pytest.mark.parametrize(
    ("lost", "share"),
    [
        ((0.0, 0.5, 2.0, 8.0), 2**-3.0),  # half of the way between a quarter and a sixteenth
        ((0.0, 2.0, 8.0, 32.0), 1 - 0.75 / 2),
        ((0.0, 0.1, 0.2, 0.25), 2**-8.0),  # the next coarser one would lose four times as much
        ((3.0, 4.0, 5.0, 6.0), 1.0),  # all are not
        ((0.0, 0.0, 0.0, 0.0), 2**-12.0),
        ((0.0,), 2**-6.0),
    ],
)
def test_needed_share_of_two_axes(lost: tuple[float, ...], share: float) -> None:
    found = needed_share(torch.tensor(lost).double()[:, None], 1.0, 2)
    assert found.tolist() == pytest.approx([share])


def test_blocks_of_levels_that_lose_the_bound_cost_infinitely() -> None:
    lost = torch.tensor([[0.0, 0.95, 0.6, 0.6], [0.5, 0.95, 0.7, 9.0], [0.9, 0.95, 0.8, 20.0]])
    cost = AdaptiveSelection().cost(lost.double(), 1.0, 2)
    assert cost.isfinite().tolist() == [True, False, True, False]
    assert PerLevelSelection().cost(lost, 1.0, 2).eq(1).all()
