"""Triton's steps against plain ones: the truth is float64, the bar what float32 costs PyTorch."""

import re
from functools import partial
from itertools import cycle

import pytest
import torch
from block_problems import Kind, Problem, problem_of
from kernel_problems import (
    DEVICE,
    KINDS,
    OPTIMIZERS,
    check_a_few_steps,
    check_errors,
    check_gradients,
    check_steps,
    small,
)
from triton.runtime.errors import OutOfResources

from miner.fitting.backend import EagerBackend
from miner.fitting.criteria import AbsoluteMSEPruning, LogMSELoss, Loss, MSELoss
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.soap import SOAP
from miner.kernels.activations import ACTIVATIONS
from miner.kernels.backend import TritonBackend
from miner.kernels.triton.trainer import TritonTrainer
from miner.models.activations import Siren
from miner.models.encodings import CosineEncoding
from miner.models.network import select

QUICK = 0, 5, 7, 10, 14, 15  # with every readout, activation and optimiser
ROUNDED = [op.of for op in ACTIVATIONS if op.tf32_gradients]
SOLVED = [kind for kind in KINDS if kind.readout == "closed_form"]
SIREN = Kind("closed_form", Siren(), CosineEncoding(3), 2, width=7, depth=2, channels=1)


def begin(problem: Problem) -> TritonTrainer:
    return TritonTrainer(problem.single(DEVICE))


def check_triton_gradients(problem: Problem) -> None:
    """Gradients of sines are products of 10 bits."""
    is_rounded = type(problem.network.model.activation) in ROUNDED
    check_gradients(problem, begin, floor=5e-3 if is_rounded else 1e-5)


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        *((kind, MSELoss()) for kind in KINDS),
        *(
            pytest.param(kind, LogMSELoss(floor=0.05), marks=[pytest.mark.slow] * (n not in QUICK))
            for n, kind in enumerate(KINDS)
        ),
    ],
    ids=str,
)
def test_gradients_are_right_for_every_activation_and_readout(kind: Kind, loss: Loss) -> None:
    check_triton_gradients(small(kind, loss=loss))


@pytest.mark.parametrize(
    ("kind", "optimizer"),
    [
        pytest.param(
            kind, optimizer, marks=[pytest.mark.slow] * (n not in QUICK), id=f"{kind}-{optimizer}"
        )
        for n, (kind, optimizer) in enumerate(zip(KINDS, cycle(OPTIMIZERS), strict=False))
    ],
)
def test_every_network_takes_the_steps_of_an_optimiser(kind: Kind, optimizer: str) -> None:
    problem = small(kind, n_steps=5, optimizer=OPTIMIZERS[optimizer])
    check_a_few_steps(problem, begin(problem))


@pytest.mark.parametrize(
    ("kind", "n_drawn"), [(KINDS[2], 20), (KINDS[7], 64), (KINDS[13], 20)], ids=str
)
def test_drawn_pixels_are_those_of_the_plain_steps(kind: Kind, n_drawn: int) -> None:
    problem = small(kind, n_steps=5).with_steps(batch_pixels=n_drawn)
    check_a_few_steps(problem, begin(problem))


@pytest.mark.parametrize("n_pixels", [1, pytest.param(5, marks=pytest.mark.slow), 64])
@pytest.mark.parametrize("kind", SOLVED[1:3], ids=str)
def test_few_pixels_are_fitted_as_well_as_by_plain_steps(kind: Kind, n_pixels: int) -> None:
    problem = small(kind, n_pixels)
    check_steps(problem, begin(problem), 4, floor=1e-4)


@pytest.mark.parametrize(("loss", "n_drawn"), [(LogMSELoss(floor=0.05), None), (MSELoss(), 20)])
def test_soap_gets_the_gradients_of_the_loss(loss: Loss, n_drawn: int | None) -> None:
    """With a large eps its moves are as long as gradients."""
    soap = partial(SOAP, lr=0.01, eps=1.0, precondition_frequency=2)
    problem = small(SIREN, n_steps=5, loss=loss, optimizer=soap).with_steps(batch_pixels=n_drawn)
    check_a_few_steps(problem, begin(problem))


@pytest.mark.parametrize(("width", "inputs"), [(16, 3), (17, 9), (40, 3)])
def test_padding_leaves_no_trace(width: int, inputs: int) -> None:
    check_triton_gradients(
        problem_of(SIREN._replace(width=width, encoding=CosineEncoding(inputs)), 90, 1)
    )


def test_the_ridge_is_that_of_the_readout() -> None:
    check_triton_gradients(small(SIREN)._replace(readout=ClosedFormReadout(0.1)))


def test_features_that_depend_on_each_other_are_solved_with_a_larger_penalty() -> None:
    problem = small(SIREN)._replace(readout=ClosedFormReadout(1e-18))
    for layer in (0, 1):  # all features alike
        for name in (f"hidden.{layer}.weight", f"hidden.{layer}.bias"):
            tensor = problem.start[name]
            tensor.copy_(tensor[..., :1].expand_as(tensor))
    check_steps(problem, begin(problem), 1, floor=1e-4)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[6], KINDS[14]], ids=str)
def test_a_nan_shows_in_the_error_of_its_block(kind: Kind) -> None:
    problem = small(kind, n_blocks=3)
    problem.start["hidden.0.weight"][1, 0, 0] = torch.nan
    triton = begin(problem)
    triton.advance(1)
    assert triton.mse.isfinite().tolist() == [True, False, True]
    assert triton.best_mse.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[15]], ids=str)
def test_blocks_do_not_affect_each_other(kind: Kind) -> None:
    problem, last = small(kind, n_blocks=3), torch.tensor([2])
    batch, alone = begin(problem), begin(problem.select(last))
    for trainer in (batch, alone):
        trainer.advance(2)
    assert torch.equal(batch.mse[2:], alone.mse)
    torch.testing.assert_close(select(batch.best, last), alone.best, rtol=0, atol=0)


def test_steps_of_two_launches_are_those_of_one() -> None:
    problem = small(SIREN).with_steps(n_steps=4)
    whole, parts = begin(problem), begin(problem)
    whole.advance(3)
    parts.advance(1)
    parts.advance(2)
    assert torch.equal(whole.trained, parts.trained)
    torch.testing.assert_close(whole.best, parts.best, rtol=0, atol=0)


def test_an_evaluation_moves_nothing() -> None:
    trainer = begin(small(SIREN).with_steps(n_steps=2))
    trainer.advance(2)
    before = [t.clone() for t in (trainer.trained, trainer.first, trainer.second)]
    trainer.evaluate()
    layers = trainer.layout.readout_at  # the rest is solved for
    for old, new in zip(before, (trainer.trained, trainer.first, trainer.second), strict=True):
        assert torch.equal(old[:, :layers], new[:, :layers])


@pytest.mark.slow
def test_deactivated_blocks_stay_as_they_are() -> None:
    problem = small(SIREN, n_blocks=3)
    some, all_ = begin(problem), begin(problem)
    leaves = torch.tensor([False, True, False], device=DEVICE)
    for trainer in (some, all_):
        trainer.advance(1)
    mse, best = some.mse.clone(), select(some.best, leaves)
    some.deactivate(leaves)
    for trainer in (some, all_):
        trainer.advance(2)
    assert torch.equal(some.mse[leaves], mse[leaves])
    torch.testing.assert_close(select(some.best, leaves), best, rtol=0, atol=0)
    assert torch.equal(some.mse[~leaves], all_.mse[~leaves])


@pytest.mark.parametrize("n_drawn", [None, pytest.param(40, marks=pytest.mark.slow)])
def test_a_fit_ends_as_that_of_plain_steps(n_drawn: int | None) -> None:
    problem = small(SIREN, n_steps=8).with_steps(batch_pixels=n_drawn)
    criteria = AbsoluteMSEPruning(4), 3e-3
    plain = problem.fit(*criteria)
    triton = problem.single(DEVICE).fit(*criteria, backend=TritonBackend())
    check_errors(plain.mse, plain.mse, triton.mse, floor=3e-4)
    assert triton.converged.tolist() == plain.converged.tolist()
    assert [point[0] for point in triton.curve][: len(plain.curve)] == [p[0] for p in plain.curve]


@pytest.mark.parametrize("kind", [KINDS[2], KINDS[7], KINDS[13], KINDS[4]], ids=str)
def test_rendered_values_are_those_of_the_network(kind: Kind) -> None:
    problem = small(kind).single(DEVICE)
    readouts = problem.network.head.shapes(problem.network.model.width, kind.channels)
    missing = {n: torch.rand(len(problem.targets), *s).to(DEVICE) for n, s in readouts.items()}
    found = TritonBackend().outputs(problem.network, missing | problem.start, problem.encoded)
    expected = problem.network.outputs(missing | problem.start, problem.encoded)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


class TooLarge:
    """A program that does not fit the device."""

    def __getitem__(self, grid: tuple[int, ...]) -> None:
        raise OutOfResources(348160, 232448, "shared memory")


@pytest.mark.parametrize("optimizer", ["Adam", "SOAP"])
def test_programs_that_do_not_fit_the_device_are_left_to_pytorch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, optimizer: str
) -> None:
    monkeypatch.setattr("miner.kernels.triton.trainer.train_blocks", TooLarge())
    problem = small(SIREN, n_blocks=2, optimizer=OPTIMIZERS[optimizer]).single(DEVICE)
    assert TritonBackend().prepare(problem) == EagerBackend()
    (message,) = caplog.messages
    assert re.search(r"model\.width=6: .*shared memory.*; plain PyTorch takes over", message)


@pytest.mark.parametrize("n_drawn", [None, 9])
def test_supported_networks_are_prepared_silently(
    caplog: pytest.LogCaptureFixture, n_drawn: int | None
) -> None:
    given = small(SIREN).with_steps(batch_pixels=n_drawn).single(DEVICE)
    assert TritonBackend().prepare(given) == TritonBackend()
    assert caplog.records == []
