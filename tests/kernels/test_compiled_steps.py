"""Compiled steps against plain ones: the truth is float64, the bar what float32 costs PyTorch."""

import platform
from ctypes import CDLL

import pytest
import torch
from block_problems import ACTIVATIONS, READOUTS, Kind, Problem, problem_of
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_problems import (
    ENCODINGS,
    KINDS,
    OPTIMIZERS,
    check_a_few_steps,
    check_a_step,
    check_gradients,
    check_steps,
    kind_with,
)

from miner.fitting.criteria import LogMSELoss, Loss, MSELoss
from miner.fitting.readout import ClosedFormReadout
from miner.kernels.backend import CompiledBackend
from miner.kernels.cpu.trainer import (
    FLAGS,
    SOURCE,
    CompiledTrainer,
    build,
    describe_processor,
    load,
)
from miner.models.activations import Finer, ReLU, Sine
from miner.models.encodings import NoEncoding
from miner.models.network import select

LOSSES = (MSELoss(), LogMSELoss(), LogMSELoss(floor=0.05))
ANY_KIND = st.builds(
    Kind,
    readout=st.sampled_from(sorted(READOUTS)),
    activation=st.sampled_from(ACTIVATIONS),
    encoding=st.sampled_from(ENCODINGS),
    n_axes=st.sampled_from([2, 3]),
    width=st.integers(1, 23),
    depth=st.integers(1, 3),
    channels=st.integers(1, 5),
)


@st.composite
def problems(pick: st.DrawFn) -> Problem:
    """Any problem; with more pixels than twice the width if the readout is solved for."""
    kind = pick(ANY_KIND)
    n_pixels = pick(st.sampled_from([1, 5, 63, 64, 65, 127, 128, 129]) | st.integers(1, 333))
    enough = 2 * kind.width + 1 if kind.readout == "closed_form" else 1
    return problem_of(
        kind,
        max(n_pixels, enough),
        n_blocks=pick(st.integers(1, 4)),
        loss=pick(st.sampled_from(LOSSES)),
        optimizer=OPTIMIZERS[pick(st.sampled_from(sorted(OPTIMIZERS)))],
        seed=pick(st.integers(0, 99)),
    )


def begin(problem: Problem) -> CompiledTrainer:
    return CompiledTrainer(problem.single())


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_are_right_for_every_activation_and_readout(kind: Kind, loss: Loss) -> None:
    check_gradients(problem_of(kind, 150, loss=loss), begin, floor=2e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_network_takes_the_steps_of_every_optimiser(kind: Kind, optimizer: str) -> None:
    problem = problem_of(kind, 150, optimizer=OPTIMIZERS[optimizer])
    check_a_few_steps(problem, begin(problem))


@settings(max_examples=60)
@given(problems())
def test_any_number_of_pixels_is_trained_as_by_plain_steps(problem: Problem) -> None:
    check_gradients(problem, begin, floor=2e-5)
    check_a_step(problem, begin(problem))
    if problem.targets.shape[-1] >= 30:
        check_a_few_steps(problem, begin(problem))


@pytest.mark.parametrize(("width", "depth"), [(300, 1), (64, 2), (33, 5)])
@pytest.mark.parametrize("readout", READOUTS)
def test_wide_and_deep_networks_are_trained(readout: str, width: int, depth: int) -> None:
    kind = kind_with(Sine, readout)._replace(width=width, depth=depth)
    problem = problem_of(kind, 2 * width + 1, n_blocks=1)
    check_gradients(problem, begin, floor=2e-5)
    check_a_step(problem, begin(problem))


@pytest.mark.parametrize("n_pixels", [1, 2, 5, 19])
@pytest.mark.parametrize("kind", [k for k in KINDS if k.readout == "closed_form"], ids=str)
def test_few_pixels_are_fitted_as_well_as_by_plain_steps(kind: Kind, n_pixels: int) -> None:
    problem = problem_of(kind, n_pixels)
    check_steps(problem, begin(problem), 8, floor=1e-4)


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
@pytest.mark.parametrize("activation", [Sine, Finer])
def test_the_ridge_is_that_of_the_readout(activation: type, ridge: float) -> None:
    problem = problem_of(kind_with(activation, "closed_form"), 150)
    problem = problem._replace(readout=ClosedFormReadout(ridge))
    check_gradients(problem, begin, floor=2e-5)
    check_a_few_steps(problem, begin(problem))


@pytest.mark.parametrize("activation", [ReLU, Finer])
def test_a_kink_has_the_derivative_that_pytorch_gives_it(activation: type) -> None:
    problem = problem_of(kind_with(activation), 150)
    for name in ("hidden.0.weight", "hidden.0.bias"):
        problem.start[name].zero_()
    check_gradients(problem, begin, floor=2e-5)


@pytest.mark.parametrize("z", [-1e30, -150.0, -100.0, -89.0, -88.0, -30.0, 30.0, 89.0, 1e30])
def test_a_saturated_sigmoid_ends_at_zero_or_one(z: float) -> None:
    problem = problem_of(kind_with(Sine), 150)
    problem.start["readout.bias"].fill_(z)
    compiled = begin(problem)
    check_steps(problem, compiled, 1, floor=1e-6)
    assert bool(compiled.first.isfinite().all())


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_sines_of_large_numbers_keep_their_digits(scale: float) -> None:
    kind = kind_with(Sine)._replace(encoding=NoEncoding(), n_axes=2, depth=1, width=5)
    problem = problem_of(kind, 150)
    problem.start["hidden.0.weight"].mul_(scale)
    check_gradients(problem, begin, floor=2e-5)
    check_a_step(problem, begin(problem))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_nan_shows_in_the_error_of_its_block(kind: Kind) -> None:
    problem = problem_of(kind, 150)
    problem.start["hidden.0.weight"][1, 0, 0] = torch.nan
    compiled = begin(problem)
    compiled.advance(1)
    assert compiled.mse.isfinite().tolist() == [True, False, True]
    assert compiled.best_mse.isfinite().tolist() == [True, False, True]


@pytest.mark.parametrize("readout", READOUTS)
def test_blocks_that_stay_move_as_before(readout: str) -> None:
    problem = problem_of(kind_with(Sine, readout), 150, n_blocks=5)
    index = torch.tensor([1, 4])
    whole, part = begin(problem), begin(problem.select(index))
    whole.advance(2)
    part.advance(2)
    whole.deactivate(torch.tensor([True, False, True, True, False]))
    for trainer in (whole, part):
        trainer.advance(6)
        trainer.evaluate()
    assert torch.equal(whole.best_mse[index], part.best_mse)
    torch.testing.assert_close(select(whole.best, index), part.best, rtol=0, atol=0)


@pytest.fixture(params=["haswell", "nehalem"], scope="module")
def narrow(request: pytest.FixtureRequest) -> CDLL:
    """The steps compiled for vectors of 256 and of 128 bits."""
    if platform.machine() != "x86_64" or "avx2" not in describe_processor():
        pytest.skip("needs an x86-64 processor with AVX2")
    others = [flag for flag in FLAGS if not flag.startswith("-march")]
    return load(build(SOURCE, flags=[*others, f"-march={request.param}"]))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_narrower_vectors_take_the_same_step(kind: Kind, narrow: CDLL) -> None:
    problem = problem_of(kind, n_pixels=150)
    check_steps(problem, CompiledTrainer(problem.single(), narrow), 1, floor=1e-6)


@pytest.mark.parametrize("kind", KINDS[::3], ids=str)
def test_narrower_vectors_turn_into_the_same_bases(kind: Kind, narrow: CDLL) -> None:
    problem = problem_of(kind, n_pixels=150, optimizer=OPTIMIZERS["SOAP"])
    check_a_few_steps(problem, CompiledTrainer(problem.single(), narrow))


@pytest.mark.parametrize("n_pixels", [1, 64, 70])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_compiled_outputs_are_those_of_the_network(kind: Kind, n_pixels: int) -> None:
    problem = problem_of(kind, n_pixels).single()
    network, parameters = problem.network, problem.fit().parameters
    found = CompiledBackend().outputs(network, parameters, problem.encoded)
    for block, one in enumerate(found):  # alone it has the same bits
        alone = select(parameters, torch.tensor([block]))
        assert torch.equal(CompiledBackend().outputs(network, alone, problem.encoded)[0], one)
    expected = network.outputs(parameters, problem.encoded)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
