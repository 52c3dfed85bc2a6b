"""Each region is represented at one level, and shown at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from block_problems import CPU, finish, fit_levels, flat_and_busy, noise, smooth, stored
from problems import fit, fitter
from torch import Tensor

from miner.fitting.initialization import SharedWeights
from miner.fitting.selection import AdaptiveSelection, PerLevelSelection
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid
from miner.representation import Representation, load
from miner.representation.storage import Int8Storage
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.signals.store import LocalSignalStore

PYRAMID = GaussianPyramid(3)
ADAPTIVE: dict[str, Any] = {
    "pyramid": PYRAMID,
    "level_selection": AdaptiveSelection(),
    "model": BlockMLP(CosineEncoding(2), Sine(0.5), width=8, depth=1),  # smooth between pixels
    "width": 8,
    "max_mse": 1e-3,
    "max_steps": 30,
}
PICTURES = {"2d": flat_and_busy(45, 70), "3d": flat_and_busy(18, 20, 40)}


def finest_level(shown: Representation) -> Tensor:
    """Of each pixel, the finest level that has a block there, `(*S)`; -1 without any."""
    sides, size = shown.spec.sides, shown.spec.patch_size
    found = torch.full(sides, -1)
    for level in reversed(range(shown.spec.n_levels)):
        grid = shown.spec.grid(level)
        for position in grid.positions(shown.active_blocks(level)).tolist():
            found[tuple(slice(n * size << level, (n + 1) * size << level) for n in position)] = (
                level
            )
    return found


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_every_pixel_is_represented_once(picture: Tensor) -> None:
    shown = fit(picture, **ADAPTIVE)
    owners = finest_level(shown)
    assert owners.min() == 0 and owners.max() > 0
    covered = torch.zeros(owners.shape, dtype=torch.long)
    for level in range(3):
        alone = Representation(shown.spec, {level: shown.shards[level]})
        covered += finest_level(alone) == level
    assert (covered == 1).all()


def test_smooth_pictures_take_few_coarse_blocks() -> None:
    shown = fit(smooth(64, 64), **ADAPTIVE)
    assert [len(shown.active_blocks(level)) for level in range(3)] == [0, 0, 4]
    error = (shown.reconstruct() - smooth(64, 64)).square().mean()
    assert error < 1e-3


def test_noise_is_left_to_the_finest_level() -> None:
    shown = fit(noise(1, 32, 32), **ADAPTIVE | {"max_steps": 2})
    assert [len(shown.active_blocks(level)) for level in range(3)] == [16, 0, 0]


def test_pixels_that_a_coarser_block_represents_cannot_miss_a_bound() -> None:
    running = fitter(PICTURES["2d"], **ADAPTIVE)
    for level in (2, 1, 0):
        finest = running.start_level(level)
        finish(running, finest)
    is_own = torch.zeros(finest.grid.n_blocks, dtype=torch.bool)
    is_own[finest.active] = True
    assert 0 < is_own.sum() < len(is_own)
    assert finest.bounds[is_own].eq(1e-3).all() and finest.bounds[~is_own].isinf().all()


def test_a_block_that_misses_the_bound_at_the_finest_level_is_replaced() -> None:
    running = fitter(smooth(64, 64), **ADAPTIVE | {"max_steps": 1})
    fits, shards = [], {}
    for level in (2, 1, 0):
        fits.append(running.start_level(level))
        shards[level] = finish(running, fits[-1])
    assert [one.n_replaced for one in fits] == [4, 0, 0]
    assert not len(shards[2][0].blocks)
    assert len(fits[1].active) == 0  # most missed: no coarse block is tried again
    assert (finest_level(Representation(running.spec, shards)) == 0).all()


def test_the_choice_does_not_depend_on_chunks() -> None:
    picture = PICTURES["2d"]
    active = [
        [shown.active_blocks(level).tolist() for level in range(3)]
        for shown in (fit(picture, **ADAPTIVE, blocks_per_shard=n) for n in (2, 2048))
    ]
    assert active[0] == active[1]


def test_a_coarse_level_shows_the_finer_blocks_reduced() -> None:
    picture = PICTURES["2d"]
    shown = fit(picture, **ADAPTIVE)
    whole, coarse = shown.reconstruct(), shown.reconstruct(1)
    is_finer = PYRAMID.reduce((finest_level(shown) == 0)[None].float())[0] == 1
    assert is_finer.any()
    torch.testing.assert_close(coarse[:, is_finer], PYRAMID.reduce(whole)[:, is_finer])


@pytest.mark.parametrize("level", [1, 2])
def test_a_coarse_level_shows_the_finer_blocks_at_other_sizes(level: int) -> None:
    shown = fit(PICTURES["2d"], **ADAPTIVE)
    twice = torch.from_numpy(shown.render(level, scale=2))
    torch.testing.assert_close(PYRAMID.reduce(twice), shown.reconstruct(level), rtol=0, atol=0.1)


@dataclass(frozen=True)
class WidePyramid(GaussianPyramid):
    """Reduces by (1, 3, 3, 1) / 8."""

    reduce_reach = 1

    def reduce(self, signal: Tensor) -> Tensor:
        for axis in range(1, signal.ndim):
            n = signal.shape[axis]
            near = [torch.arange(first, n + first, 2).clamp(0, n - 1) for first in (-1, 0, 1, 2)]
            a, b, c, d = (signal.index_select(axis, index) for index in near)
            signal = 0.125 * (a + d) + 0.375 * (b + c)
        return signal


@pytest.mark.parametrize("pyramid", [PYRAMID, WidePyramid(3)], ids=["mean", "wide"])
@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_tiles_are_reduced_to_an_overview_with_the_bits_of_rendering(
    picture: Tensor, pyramid: GaussianPyramid
) -> None:
    store = LocalSignalStore(CPU, Scratch(None), tile_side=16)  # half a block of level 2
    running = fitter(picture, store, **ADAPTIVE | {"pyramid": pyramid})
    running.overview = running.new_signal("overview", 2)
    shown = fit_levels(running)
    overview = running.overview.read(whole(shown.spec.level_sides[2]))
    assert torch.equal(overview, shown.reconstruct(2))


@pytest.mark.parametrize("storage", [Int8Storage()])
def test_it_is_stored_and_loaded(storage: Int8Storage, tmp_path: Path) -> None:
    shown = fit(PICTURES["2d"], **ADAPTIVE, storage=storage)
    loaded = load(shown.save(tmp_path / "run"))
    assert torch.equal(loaded.reconstruct(), shown.reconstruct())
    assert stored(loaded)[0].equal(stored(shown)[0])
    assert shown.to_module()(torch.zeros(1, 2)).equal(shown(torch.zeros(1, 2)))


@pytest.mark.parametrize("change", [{"pyramid": LaplacianPyramid(3)}, {"weights": SharedWeights()}])
def test_levels_that_others_build_on_are_fitted_well_where_they_are_the_last(
    change: dict[str, Any],
) -> None:
    picture, settings = PICTURES["2d"], ADAPTIVE | change
    adaptive, loose = (
        fitter(picture, **settings | {"level_selection": selection}).start_level(2)
        for selection in (AdaptiveSelection(), PerLevelSelection())
    )
    assert adaptive.active.equal(loose.active) and len(loose.active) == loose.grid.n_blocks
    assert (loose.bounds == 1).all()
    is_smooth = adaptive.grid.positions(adaptive.active)[:, 1] == 0
    assert (adaptive.bounds[is_smooth] < 1e-3).any()
    assert (adaptive.bounds[~is_smooth] == 1).all()
