"""Whole fits: any size, what is active, and what is stored."""

from functools import partial
from typing import Any

import pytest
import torch
from block_problems import finish, noise, smooth
from problems import SETTINGS, SINGLE, Watched, block_errors, fit, fitter
from torch import Tensor

from miner.fitting.capacity import Capacity
from miner.fitting.criteria import AbsoluteMSEPruning
from miner.fitting.readout import LearnedReadout
from miner.models.heads import ScaledSineHead, SigmoidHead
from miner.models.network import select
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation import Representation
from miner.representation.storage import Float16Storage, Int8Storage, Storage
from miner.signals.grid import coordinates
from miner.signals.regions import whole
from miner.signals.signal import Signal

RAGGED = [(1, 1), (1, 19), (19, 1), (2, 3), (13, 7), (17, 31), (8, 9), (3, 5, 7), (1, 1, 11)]
GAUSSIAN, LAPLACIAN = GaussianPyramid(2), LaplacianPyramid(2)
CHANGES: dict[str, dict[str, Any]] = {
    "gaussian": {"pyramid": GAUSSIAN},
    "laplacian": {"pyramid": LAPLACIAN},
    "widths": {"capacity": Watched()},
    "learned": {"readout": LearnedReadout(), "batch_pixels": 20},
}


def mse(signal: Tensor, representation: Representation) -> float:
    return float((representation.reconstruct() - signal).square().mean())


def whole_of(signal: Signal) -> Tensor:
    return signal.read(whole(signal.sides))


@pytest.mark.parametrize(
    ("sides", "kind"),
    [
        pytest.param(sides, kind, marks=[pytest.mark.slow] * (kind != "gaussian"))
        if sides not in ((1, 1), (13, 7), (3, 5, 7))
        else (sides, kind)
        for sides in RAGGED
        for kind in CHANGES
    ],
    ids=str,
)
def test_any_size_is_fitted(sides: tuple[int, ...], kind: str) -> None:
    signal = smooth(*sides)
    fitted = fit(signal, max_steps=20, **CHANGES[kind])
    assert fitted.render().shape == signal.shape
    assert mse(signal, fitted) < (2e-2 if kind == "learned" else 2e-4)


def test_only_residuals_have_a_head_for_either_sign() -> None:
    learned, signal = {"readout": LearnedReadout(), "max_steps": 1}, noise(1, 20, 20)
    plain, residual = (fitter(signal, pyramid=p, **learned).spec for p in (GAUSSIAN, LAPLACIAN))
    assert [plain.model(level).head for level in (0, 1)] == [SigmoidHead(), SigmoidHead()]
    assert [residual.model(level).head for level in (0, 1)] == [ScaledSineHead(), SigmoidHead()]


@pytest.mark.parametrize("batch_pixels", [None, 5])
@pytest.mark.parametrize("readout", [SETTINGS.readout, LearnedReadout()])
def test_an_edge_block_is_fitted_as_if_its_pixels_were_the_whole_image(
    readout: Any, batch_pixels: int | None
) -> None:
    signal = noise(2, 11, 13)
    changes = {"pyramid": SINGLE, "readout": readout, "batch_pixels": batch_pixels}
    (shard,) = fit(signal, **changes).shards[0]
    (alone,) = fit(signal[:, 8:, 8:].contiguous(), **changes).shards[0]
    corner = select(shard.stored[6], torch.tensor([3]))
    torch.testing.assert_close(corner, alone.stored[6], rtol=1e-3, atol=1e-5)


def test_a_ragged_blocks_prediction_is_scored_over_its_real_pixels() -> None:
    running = fitter(noise(2, 11, 13))
    shards = finish(running, running.start_level(1))
    reconstruction = Representation(running.spec, {1: shards}).reconstruct(1)
    error = whole_of(running.signals[0]) - LAPLACIAN.expand(reconstruction, (11, 13))
    by_hand = error[:, 8:, 8:].square().mean().double()
    torch.testing.assert_close(running.start_level(0).predicted_mse[3], by_hand)


def test_predicted_errors_add_up() -> None:
    level = fitter(noise(2, 11, 13)).start_level(1)
    assert level.predicted_sse == pytest.approx(
        float(whole_of(level.signal).double().square().sum())
    )
    assert level.active_sse == pytest.approx(level.predicted_sse)


@pytest.mark.parametrize("pyramid", [GaussianPyramid(3), LaplacianPyramid(3)])
def test_only_the_block_of_a_sharp_detail_is_active_and_comes_out_right(pyramid: Pyramid) -> None:
    signal = torch.full((1, 64, 64), 0.5)
    signal[0, 20:22, 42:44] = torch.tensor([[0.9, 0.1], [0.1, 0.9]])  # grey at coarser levels
    fitted = fit(signal, pyramid=pyramid, max_steps=60, width=16)
    assert len(fitted.active_blocks(1)) == 0
    assert fitted.active_blocks(0).tolist() == [2 * 8 + 5]
    assert float((fitted.reconstruct() - signal).abs().max()) < 0.05


@pytest.mark.parametrize("capacity", [SETTINGS.capacity, Watched()])
def test_a_black_image_needs_no_network(capacity: Capacity) -> None:
    fitted = fit(torch.zeros(1, 20, 20), capacity=capacity)
    assert fitted.n_parameters == 0
    assert not fitted.render().any()
    assert fitted.shards[1][0].stats.n_active == 4  # all blocks of the coarsest level are tried


def test_a_block_no_better_than_its_prediction_becomes_inactive() -> None:
    signal, still = smooth(20, 20), partial(torch.optim.SGD, lr=1e-30)
    fitted = fit(signal, readout=LearnedReadout(frequency=1.0), optimizer=still)
    predicted = Representation(fitted.spec, {1: fitted.shards[1]})
    n_active, n_tried = len(fitted.active_blocks(0)), fitted.shards[0][0].stats.n_active
    assert 0 < n_active < n_tried
    assert bool((block_errors(fitted, signal) <= block_errors(predicted, signal)).all())


@pytest.mark.parametrize(
    ("optimizer", "capacity"),
    [
        (partial(torch.optim.SGD, lr=1e6), SETTINGS.capacity),
        (partial(torch.optim.SGD, lr=1e3), Watched()),
        (partial(torch.optim.Adam), SETTINGS.capacity),
        (partial(torch.optim.Adam), Watched()),
    ],
)
def test_every_stored_block_beats_its_prediction(optimizer: Any, capacity: Capacity) -> None:
    signal = noise(1, 20, 20)
    fitted = fit(signal, optimizer=optimizer, capacity=capacity)
    predicted = Representation(fitted.spec, {1: fitted.shards[1]})
    active = fitted.active_blocks(0)
    better = block_errors(fitted, signal)[active] < block_errors(predicted, signal)[active]
    assert bool(better.all())


@pytest.mark.parametrize("storage", [Float16Storage(), Int8Storage()])
def test_a_level_is_predicted_from_what_is_stored(storage: Storage) -> None:
    running = fitter(smooth(20, 20), storage=storage, max_mse=1e-9)
    shards = finish(running, running.start_level(1))
    rendered = Representation(running.spec, {1: shards}).reconstruct(1)
    assert torch.equal(
        whole_of(running.start_level(0).prediction), LAPLACIAN.expand(rendered, (20, 20))
    )


def test_the_stored_readout_is_the_best_for_the_rounded_layers() -> None:
    signal, storage = 0.5 * (smooth(48, 48) + noise(2, 48, 48)), Int8Storage()
    fitted = fit(signal, pyramid=SINGLE, storage=storage, width=20, max_steps=20)
    (shard,), model = fitted.shards[0], fitted.spec.model(0)
    encoded = model.model.encode(coordinates(8, (8, 8)))
    decoded = storage.decode(shard.stored[20])
    features = model.model.features(decoded, encoded)
    targets = fitted.spec.grid(0).cut(signal, shard.blocks).flatten(2)
    errors = [
        (model.head.outputs(features, readout) - targets).square().mean(dim=(1, 2))
        for candidate in SETTINGS.readout.candidates()
        for solved in (candidate.solve(features, targets, {}),)
        for readout in (storage.decode(storage.encode(solved)),)
    ]
    found = (model.head.outputs(features, decoded) - targets).square().mean(dim=(1, 2))
    torch.testing.assert_close(found, torch.stack(errors).amin(0), rtol=1e-3, atol=0)


class Twice(LaplacianPyramid):
    """Two coefficients for each value, whose errors add up."""

    def bands(self, n_axes: int) -> int:
        return 2

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        return 0.5**0.5 * super().target(signal, prediction).repeat(1, 2, *[1] * (signal.ndim - 2))

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        return super().merge(prediction, 0.5**0.5 * sum(output.chunk(2, dim=1)))


def test_blocks_that_fit_coefficients_leave_when_their_pixels_meet_the_bound() -> None:
    signal, settings = smooth(11, 13), {"pruning": AbsoluteMSEPruning(1), "max_steps": 150}
    fitted = fit(signal, pyramid=Twice(2), max_mse=1e-5, **settings)
    (shard,) = fitted.shards[0]
    assert shard.stats.n_converged == len(shard.blocks) > 1
    assert 0.5e-5 < float(block_errors(fitted, signal).max()) < 1.01e-5


def test_widths_are_decided_by_errors_of_pixels() -> None:
    signal, watched = smooth(11, 13), Watched(max_refits=0)
    fitted = fit(signal, pyramid=Twice(2), capacity=watched)
    found = watched.rounds[-1].mse.double()
    torch.testing.assert_close(found, block_errors(fitted, signal), rtol=1e-3, atol=0)
