"""A fit in tiles and on scratch files is the fit of the whole image in memory."""

from pathlib import Path

import pytest
import torch
from block_problems import CPU, finish, fit_levels, flat_and_busy, noise, stored
from problems import fit, fitter

from miner.fitting.initialization import SharedWeights
from miner.fitting.patches import gather
from miner.kernels.backend import CompiledBackend
from miner.pyramids.pyramid import GaussianPyramid
from miner.signals.grid import PatchGrid
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal
from miner.signals.store import LocalSignalStore


@pytest.mark.parametrize("shape", [(1, 70, 53), (3, 9, 200), (1, 9, 20, 21)])
def test_patches_are_gathered_from_anywhere(shape: tuple[int, ...]) -> None:
    signal = noise(*shape)
    grid = PatchGrid(shape[1:], 4)
    blocks = torch.randperm(grid.n_blocks, generator=torch.Generator().manual_seed(0))[:40]
    (patches,) = gather(grid, blocks, [ArraySignal(signal.numpy())], max_pixels=512)
    cut = grid.cut(signal, blocks)
    for row, valid_size in enumerate(grid.valid_sizes(blocks).tolist()):
        real = (slice(None), *map(slice, valid_size))
        assert torch.equal(patches[row][real], cut[row][real])


@pytest.mark.parametrize("sides", [(70, 53), (7, 90)])
def test_tiles_and_scratch_files_do_not_change_a_bit(
    tmp_path: Path, sides: tuple[int, int]
) -> None:
    signal = flat_and_busy(*sides)
    changes = {"backend": CompiledBackend(), "pyramid": GaussianPyramid(3), "blocks_per_shard": 7}
    with Scratch(tmp_path / "scratch") as scratch:
        store = LocalSignalStore(CPU, scratch, tile_side=16)
        parts = stored(fit_levels(fitter(signal, store, **changes)))
        assert (tmp_path / "scratch").is_dir()
    assert all(map(torch.equal, parts, stored(fit(signal, **changes))))


def test_scratch_holds_no_more_than_two_reconstructions(tmp_path: Path) -> None:
    changes = {"pyramid": GaussianPyramid(4), "weights": SharedWeights()}
    with Scratch(tmp_path) as scratch:
        running = fitter(noise(1, 64, 64), LocalSignalStore(CPU, scratch), **changes)
        for level in (3, 2, 1, 0):
            finish(running, running.start_level(level))
            names = {path.stem for path in tmp_path.glob("*.npy")}
            coarser = {f"reconstruction_{level}"} if level else set()
            assert names == coarser | {f"signal_{n}" for n in range(1, level)}
