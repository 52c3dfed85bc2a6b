"""Whole fits: any size, what is active, what is stored, and what a fit depends on."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from problems import SETTINGS, fit, fitter, noise
from torch import Tensor

import miner
from miner.fitting.pruning import AbsoluteMSEPruning
from miner.fitting.readout import LearnedReadout
from miner.models.parameters import select
from miner.pyramid import (
    Frame,
    GaussianPyramid,
    LaplacianPyramid,
    Pyramid,
    coordinates,
    expand,
)
from miner.representation import MinerRepresentation
from miner.representation.storage import Float16Storage, Int8Storage, Storage

RAGGED = [(1, 1), (1, 19), (19, 1), (2, 3), (13, 7), (17, 31), (8, 9), (3, 5, 7), (1, 1, 11)]
SINGLE = LaplacianPyramid(1)


def mse(signal: Tensor, representation: MinerRepresentation) -> float:
    return float((representation.reconstruct() - signal).square().mean())


def stored(representation: MinerRepresentation) -> list[Tensor]:
    return [
        tensor
        for _, shards in sorted(representation.shards.items())
        for shard in shards
        for tensor in (shard.blocks, shard.frames, *dict(sorted(shard.stored.items())).values())
    ]


def smooth(*sides: int) -> Tensor:
    """A picture that tiny networks fit easily."""
    axes = torch.meshgrid(*(torch.arange(side) / 16 for side in sides), indexing="ij")
    return 0.5 + 0.4 * torch.stack([sum(axes).sin(), sum(axes).cos()])


@pytest.mark.parametrize("pyramid", [GaussianPyramid(2), LaplacianPyramid(2)], ids=["gauss", "lap"])
@pytest.mark.parametrize("sides", RAGGED, ids=str)
def test_any_size_is_fitted(sides: tuple[int, ...], pyramid: Pyramid) -> None:
    signal = smooth(*sides)
    fitted = fit(signal, pyramid=pyramid, max_steps=20)
    assert fitted.render().shape == signal.shape
    assert mse(signal, fitted) < 2e-4


@pytest.mark.parametrize("sides", RAGGED, ids=str)
def test_any_size_is_fitted_with_a_learned_readout(sides: tuple[int, ...]) -> None:
    signal = smooth(*sides)
    fitted = fit(signal, readout=LearnedReadout(), pixels_per_step=20, max_steps=9)
    assert mse(signal, fitted) < 0.1 * float(signal.square().mean())


@pytest.mark.parametrize("pixels_per_step", [None, 5])
@pytest.mark.parametrize("readout", [SETTINGS.readout, LearnedReadout()])
def test_an_edge_block_is_fitted_as_if_its_pixels_were_the_whole_image(
    readout: Any, pixels_per_step: int | None
) -> None:
    signal = noise(2, 11, 13)
    changes = {"pyramid": SINGLE, "readout": readout, "pixels_per_step": pixels_per_step}
    (shard,) = fit(signal, **changes).shards[0]
    (alone,) = fit(signal[:, 8:, 8:].contiguous(), **changes).shards[0]
    corner = select(shard.stored, torch.tensor([3]))
    torch.testing.assert_close(corner, alone.stored, rtol=1e-3, atol=1e-5)


def test_a_ragged_blocks_prediction_is_scored_over_its_real_pixels() -> None:
    running = fitter(noise(2, 11, 13))
    coarse = running.start_level(1)
    reconstruction = running.finish_level(coarse, [coarse.fit_chunk(0)])
    error = running.signals[0] - expand(reconstruction, (11, 13))
    by_hand = error[:, 8:, 8:].square().mean().double()
    torch.testing.assert_close(running.start_level(0).predicted_mse[3], by_hand)


def test_predicted_errors_add_up() -> None:
    level = fitter(noise(2, 11, 13)).start_level(1)
    assert level.predicted_sse == pytest.approx(float(level.signal.double().square().sum()))
    assert level.active_sse == pytest.approx(level.predicted_sse)


def detail_in_a_flat_image() -> Tensor:
    signal = torch.full((1, 64, 64), 0.5)
    signal[0, 20:22, 42:44] = torch.tensor([[0.9, 0.1], [0.1, 0.9]])  # grey at coarser levels
    return signal


@pytest.mark.parametrize("pyramid", [GaussianPyramid(3), LaplacianPyramid(3)])
def test_only_the_block_of_a_sharp_detail_is_active(pyramid: Pyramid) -> None:
    fitted = fit(detail_in_a_flat_image(), pyramid=pyramid, max_steps=60, width=16)
    assert len(fitted.active_blocks(1)) == 0
    assert fitted.active_blocks(0).tolist() == [2 * 8 + 5]


@pytest.mark.parametrize("pyramid", [GaussianPyramid(3), LaplacianPyramid(3)])
def test_a_sharp_detail_comes_out_right(pyramid: Pyramid) -> None:
    signal = detail_in_a_flat_image()
    fitted = fit(signal, pyramid=pyramid, max_steps=60, width=16)
    assert float((fitted.reconstruct() - signal).abs().max()) < 0.05


def test_a_black_image_needs_no_network() -> None:
    fitted = fit(torch.zeros(1, 20, 20))
    assert fitted.n_parameters == 0
    assert not fitted.render().any()


def test_every_block_of_the_coarsest_level_is_tried() -> None:
    assert len(fitter(torch.zeros(1, 20, 20)).start_level(1).active) == 4


def test_a_block_no_better_than_its_prediction_becomes_inactive() -> None:
    signal, still = smooth(20, 20), partial(torch.optim.SGD, lr=1e-30)
    fitted = fit(signal, readout=LearnedReadout(frequency=1.0), optimizer=still)
    predicted = MinerRepresentation(fitted.spec, {1: fitted.shards[1]})
    n_active, n_tried = len(fitted.active_blocks(0)), fitted.shards[0][0].stats.n_active
    assert 0 < n_active < n_tried
    assert bool((block_errors(fitted, signal) <= block_errors(predicted, signal)).all())


def block_errors(representation: MinerRepresentation, signal: Tensor) -> Tensor:
    error = (representation.reconstruct() - signal).square()
    return representation.spec.grid(0).block_means(error)


@pytest.mark.parametrize("optimizer", [partial(torch.optim.SGD, lr=1e6), partial(torch.optim.Adam)])
def test_every_stored_block_beats_its_prediction(optimizer: Any) -> None:
    signal = noise(1, 20, 20)
    fitted = fit(signal, optimizer=optimizer)
    predicted = MinerRepresentation(fitted.spec, {1: fitted.shards[1]})
    active = fitted.active_blocks(0)
    better = block_errors(fitted, signal)[active] < block_errors(predicted, signal)[active]
    assert bool(better.all())


@pytest.mark.parametrize("storage", [Float16Storage(), Int8Storage()])
def test_a_level_is_predicted_from_what_is_stored(storage: Storage) -> None:
    running = fitter(smooth(20, 20), storage=storage, max_mse=1e-9)
    coarse = running.start_level(1)
    shard = coarse.fit_chunk(0)
    running.finish_level(coarse, [shard])
    rendered = MinerRepresentation(running.spec, {1: [shard]}).reconstruct(1)
    assert torch.equal(running.start_level(0).prediction, expand(rendered, (20, 20)))


def test_the_stored_readout_is_the_best_for_the_rounded_layers() -> None:
    signal, storage = 0.5 * (smooth(48, 48) + noise(2, 48, 48)), Int8Storage()
    fitted = fit(signal, pyramid=SINGLE, storage=storage, width=20, max_steps=20)
    (shard,), model = fitted.shards[0], fitted.spec.model(0)
    encoded = model.mlp.encoding(coordinates(8, (8, 8), Frame.own(2)))
    decoded = storage.decode(shard.stored)
    features = model.mlp.features(decoded, encoded)
    targets = fitted.spec.grid(0).cut(signal, shard.blocks).flatten(2)
    errors = [
        (model.head.outputs(features, readout) - targets).square().mean(dim=(1, 2))
        for candidate in SETTINGS.readout.candidates(features, targets, {})
        for readout in (storage.decode(storage.encode(candidate)),)
    ]
    found = (model.head.outputs(features, decoded) - targets).square().mean(dim=(1, 2))
    torch.testing.assert_close(found, torch.stack(errors).amin(0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("chunk_size", [1, 5, 100])
def test_chunks_split_the_active_blocks_in_order(chunk_size: int) -> None:
    level = fitter(noise(1, 29, 23), chunk_size=chunk_size).start_level(1)
    assert torch.equal(torch.cat(level.chunks), level.active)
    assert {len(chunk) for chunk in level.chunks[:-1]} <= {chunk_size}


def test_a_level_without_active_blocks_has_no_chunks() -> None:
    running = fitter(torch.full((1, 20, 20), 0.5))
    coarse = running.start_level(1)
    running.finish_level(coarse, [coarse.fit_chunk(0)])
    assert len(running.start_level(0).chunks) == 0


@pytest.mark.parametrize(
    "changes", [{"chunk_size": 1}, {"chunk_size": 5}, {"max_memory_gib": 1e-9}]
)
def test_what_is_in_computation_together_hardly_shows(changes: dict[str, Any]) -> None:
    together, apart = fit(noise(1, 29, 23)), fit(noise(1, 29, 23), **changes)
    torch.testing.assert_close(apart.reconstruct(), together.reconstruct(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("pixels_per_step", [None, 9])
def test_a_fit_repeats_bit_for_bit_whatever_the_global_generator(
    pixels_per_step: int | None,
) -> None:
    torch.manual_seed(1)
    first = fit(noise(1, 29, 23), pixels_per_step=pixels_per_step)
    torch.manual_seed(2)
    again = fit(noise(1, 29, 23), pixels_per_step=pixels_per_step)
    assert all(map(torch.equal, stored(first), stored(again)))


def test_a_fit_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    fit(noise(1, 9, 9), readout=LearnedReadout(), pixels_per_step=9)
    assert torch.equal(torch.get_rng_state(), state)


def test_another_seed_is_another_fit() -> None:
    first, other = (fit(noise(1, 9, 9), seed=seed) for seed in (0, 1))
    assert not torch.equal(first.reconstruct(), other.reconstruct())


@pytest.mark.parametrize("pruning", [SETTINGS.pruning, AbsoluteMSEPruning(2)])
def test_the_curve_of_a_chunk_ends_at_its_squared_error(pruning: Any) -> None:
    signal = smooth(29, 23)
    fitted = fit(signal, pyramid=SINGLE, pruning=pruning, max_steps=6)
    (shard,) = fitted.shards[0]
    error = float((fitted.reconstruct() - signal).double().square().sum())
    assert shard.stats.curve[-1][2] == pytest.approx(error, rel=1e-2)


def test_blocks_that_converge_are_counted_over_all_parts() -> None:
    level = fitter(smooth(29, 23), pruning=AbsoluteMSEPruning(1), max_mse=1e9).start_level(1)
    assert level.fit_chunk(0).stats.n_converged == 4


def test_blocks_without_a_network_do_not_count_as_converged() -> None:
    (shard,) = fit(torch.zeros(1, 9, 9), pruning=AbsoluteMSEPruning(1)).shards[1]
    assert (shard.stats.n_active, shard.stats.n_converged) == (1, 0)


def test_steps_and_widths_run_coarse_to_fine() -> None:
    fitted = fit(noise(1, 29, 23), width=[4, 6], max_steps=[3, 7])
    widths = [fitted.spec.model(level).mlp.width for level in (1, 0)]
    steps = [fitted.shards[level][0].stats.curve[-1][0] for level in (1, 0)]
    assert (widths, steps) == ([4, 6], [3, 7])


def test_all_steps_are_told() -> None:
    told: list[int] = []
    fitter(noise(1, 29, 23)).start_level(1).fit_chunk(0, told.append)
    assert sum(told) == 4 * SETTINGS.max_steps


def test_a_fit_leaves_the_signal_alone() -> None:
    signal = noise(1, 16, 16)
    fit(signal)
    assert torch.equal(signal, noise(1, 16, 16))


def test_an_array_is_fitted_in_one_line() -> None:
    image = smooth(20, 20)[0].numpy()
    fitted = miner.fit(image, patch_size=8, fitting={"max_steps": 5})
    assert float(np.square(fitted.render()[0] - image).mean()) < 1e-4


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"shape \(4,\): must be"),
        (np.zeros((0, 4)), "at least one"),
        (np.zeros((1, 2, 3, 4, 5)), "must be"),
        (np.zeros((4, 4), np.uint8), "uint8: divide by its full range"),
        (np.full((4, 4), 1.5), "must lie in"),
        (np.full((4, 4), np.nan), "must lie in"),
    ],
)
def test_a_wrong_array_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        miner.fit(array)
