"""A fit in tiles and on scratch files is the fit of the whole image in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from problems import fit, fitter, noise
from torch import Tensor
from whole_fits import flat_and_busy, stored

from miner.fitting.initialization import SharedWeights
from miner.fitting.patches import gather
from miner.fitting.pyramid_fit import fit_pyramid
from miner.kernels.backend import CompiledBackend
from miner.pyramids.pyramid import GaussianPyramid
from miner.pyramids.resample import reduce
from miner.signals.grid import PatchGrid
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal
from miner.signals.store import LocalSignalStore

CELL_PIXELS = "miner.fitting.patches._CELL_PIXELS"


@pytest.mark.parametrize("shape", [(1, 70, 53), (3, 9, 200), (1, 9, 20, 21)])
def test_patches_are_gathered_from_anywhere(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    monkeypatch.setattr(CELL_PIXELS, 512)
    signal = noise(*shape)
    grid = PatchGrid(shape[1:], 4)
    blocks = torch.randperm(grid.n_blocks, generator=torch.Generator().manual_seed(0))[:40]
    (patches,) = gather(grid, blocks, [ArraySignal(signal.numpy())])
    cut = grid.cut(signal, blocks)
    for row, valid_size in enumerate(grid.valid_sizes(blocks).tolist()):
        real = (slice(None), *map(slice, valid_size))
        assert torch.equal(patches[row][real], cut[row][real])


def tiled_fit(signal: Tensor, scratch: Scratch, patch: pytest.MonkeyPatch) -> list[Tensor]:
    """What is stored when tiles have 16 pixels a side, and cells too."""
    patch.setattr(CELL_PIXELS, 256)
    patch.setattr("miner.signals.regions.TILE_SIDE", 16)
    running = fitter(
        signal, backend=CompiledBackend(), pyramid=GaussianPyramid(3), blocks_per_shard=7
    )
    signal_store = LocalSignalStore(torch.device("cpu"), scratch)
    running = type(running)(running.signals[0], running.spec, running.settings, signal_store)
    return stored(fit_pyramid(running))


@pytest.mark.parametrize("sides", [(70, 53), (7, 90)])
def test_tiles_and_scratch_files_do_not_change_a_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sides: tuple[int, int]
) -> None:
    signal = flat_and_busy(*sides)
    at_once = fit(signal, backend=CompiledBackend(), pyramid=GaussianPyramid(3), blocks_per_shard=7)
    with Scratch(tmp_path / "scratch") as scratch:
        parts = tiled_fit(signal, scratch, monkeypatch)
        assert (tmp_path / "scratch").is_dir()
    assert all(map(torch.equal, parts, stored(at_once)))


def test_levels_are_reduced_in_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.signals.regions.TILE_SIDE", 8)
    signal = noise(2, 37, 22)
    running = fitter(signal, pyramid=GaussianPyramid(3))
    for level in (1, 2):
        signal = reduce(signal)
        assert torch.equal(running.signals[level].read(whole(signal.shape[1:])), signal)


def test_scratch_holds_no_more_than_two_reconstructions(tmp_path: Path) -> None:
    signal = noise(1, 64, 64)
    with Scratch(tmp_path) as scratch:
        template = fitter(signal, pyramid=GaussianPyramid(4), weights=SharedWeights())
        spec, settings = template.spec, template.settings
        image_signal = ArraySignal(np.asarray(signal))
        signal_store = LocalSignalStore(torch.device("cpu"), scratch)
        running = type(template)(image_signal, spec, settings, signal_store)
        for level in (3, 2, 1, 0):
            level_fit = running.start_level(level)
            shards = [level_fit.fit_chunk(chunk) for chunk in range(len(level_fit.chunks))]
            running.finish_level(level_fit, shards)
            names = {path.stem for path in tmp_path.glob("*.npy")}
            coarser = {f"reconstruction_{level}"} if level else set()
            assert names == coarser | {f"signal_{n}" for n in range(1, level)}
