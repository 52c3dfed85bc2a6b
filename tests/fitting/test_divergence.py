"""When a block counts as diverged, and that the other blocks do not notice."""

import math
from functools import partial

import pytest
import torch
from block_problems import READOUTS, Problem, problem, same_bits

from miner.fitting.block_fit import has_diverged, raise_if_most_diverged
from miner.fitting.criteria import AbsoluteMSEPruning, NoPruning, PlateauPruning
from miner.models.network import select
from miner.support.errors import ConfigError

PROGRAMS = {"eager": Problem.single, "compiled": Problem.compiled}
CHECKED = NoPruning(4)


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return request.param


def given(readout: str, program: str) -> Problem:
    return PROGRAMS[program](problem(readout))


def rate(lr: float) -> partial[torch.optim.Adam]:
    return partial(torch.optim.Adam, lr=lr)


@pytest.mark.parametrize("readout", READOUTS)
def test_a_first_step_of_its_own_changes_no_bit(readout: str, program: str) -> None:
    one = given(readout, program)
    whole, split = (one.trainer() for _ in range(2))
    whole.advance(7)
    split.advance(1)
    split.advance(6)
    same_bits(split.best, whole.best)
    assert torch.equal(split.mse, whole.mse)


def test_a_rate_is_a_factor_on_the_learning_rate(program: str) -> None:
    slower = given("sigmoid", program).with_steps(optimizer=rate(0.02), rate=0.5)
    plain = slower.with_steps(optimizer=rate(0.01), rate=1.0)
    same_bits(slower.fit().parameters, plain.fit().parameters)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0.5, 0.4, False),
        (0.5, 0.5, False),
        (0.5, 0.6, True),
        (0.05, 0.06, False),  # below the bound
        (0.05, math.nan, True),
        (math.inf, math.inf, True),
        (math.nan, 0.4, False),
    ],
)
def test_diverged_is_worse_than_at_the_start_and_than_the_bound(
    first: float, last: float, expected: bool
) -> None:
    assert has_diverged(torch.tensor([first]), torch.tensor([last]), 0.1).tolist() == [expected]


@pytest.mark.parametrize("batch_pixels", [None, 20])
@pytest.mark.parametrize("readout", READOUTS)
def test_a_fit_that_goes_well_has_not_diverged(readout: str, batch_pixels: int | None) -> None:
    fit = problem(readout).with_steps(batch_pixels=batch_pixels).fit(CHECKED)
    assert not fit.diverged.any()


@pytest.mark.parametrize("readout", ["sigmoid", "scaled_sine"])
def test_a_huge_rate_diverges_and_leaves_the_state_before_it(readout: str, program: str) -> None:
    wild = given(readout, program).with_steps(optimizer=rate(1e6))
    fit = wild.fit(CHECKED)
    assert fit.diverged.sum() >= 10
    found = {name: fit.parameters[name][fit.diverged] for name in wild.start}
    same_bits(found, select(wild.start, fit.diverged))


@pytest.mark.parametrize("readout", READOUTS)
def test_a_state_with_numbers_that_overflowed_is_never_kept(readout: str) -> None:
    wild = given(readout, "compiled").with_steps(optimizer=rate(1e38))
    fit = wild.fit(CHECKED)
    assert bool(fit.mse.isfinite().all())
    assert all(bool(tensor.isfinite().all()) for tensor in fit.parameters.values())


@pytest.mark.parametrize("readout", ["sigmoid", "scaled_sine"])
def test_where_pixels_are_drawn_the_start_is_measured_too(readout: str) -> None:
    drawn = problem(readout).with_steps(batch_pixels=20, optimizer=rate(1e6))
    fit = drawn.fit(CHECKED)
    assert fit.diverged.sum() >= 10
    torch.testing.assert_close(fit.mse, drawn.measured(fit.parameters), rtol=1e-9, atol=0)


def poisoned(readout: str, program: str) -> Problem:
    """Block 3 has a target that is no number."""
    whole = given(readout, program)
    whole.targets[3, 0, 5] = torch.nan
    return whole


OTHERS = torch.tensor([0, 1, 2, *range(4, 12)])


@pytest.mark.parametrize("readout", READOUTS)
def test_the_neighbours_of_a_block_without_numbers_do_not_notice(
    readout: str, program: str
) -> None:
    fit = poisoned(readout, program).fit(CHECKED)
    alone = given(readout, program).select(OTHERS).fit(CHECKED)
    if program == "compiled":
        same_bits(select(fit.parameters, OTHERS), alone.parameters)
    found = select(fit.parameters, OTHERS)
    torch.testing.assert_close(found, alone.parameters, rtol=1e-4, atol=1e-5)
    assert fit.diverged.tolist() == [block == 3 for block in range(12)]


@pytest.mark.parametrize("pruning", [AbsoluteMSEPruning(4), PlateauPruning(4), NoPruning(4)])
def test_a_block_without_numbers_is_neither_converged_nor_in_the_curve(
    pruning: AbsoluteMSEPruning, program: str
) -> None:
    fit = poisoned("closed_form", program).fit(pruning)
    assert not fit.converged[3]
    assert fit.mse[3] == math.inf
    assert all(math.isfinite(error) for _, _, error in fit.curve)


def test_blocks_without_numbers_leave_at_the_check_that_sees_it() -> None:
    hopeless = problem()
    hopeless.targets.fill_(torch.nan)
    reported: list[int] = []
    fit = hopeless.fit(CHECKED, on_steps=reported.append)
    assert [step for step, _, _ in fit.curve] == [4]
    assert sum(reported) == 20 * 12


def test_the_better_of_two_fits_is_taken_block_by_block() -> None:
    short, long = problem().with_steps(n_steps=5).fit(), problem().fit()
    rows = torch.tensor([2, 7])
    better = short.improved_by(rows, problem().select(rows).fit())
    torch.testing.assert_close(better.mse[rows], long.mse[rows])
    same_bits(select(better.parameters, OTHERS[3:5]), select(short.parameters, OTHERS[3:5]))
    hopeless = problem().select(rows)
    hopeless.targets.fill_(torch.nan)
    same_bits(short.improved_by(rows, hopeless.fit()).parameters, short.parameters)


def test_when_most_blocks_diverged_the_rate_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^optimizer.lr=100: 2 of 3 .* 0.05 suit"):
        raise_if_most_diverged(torch.tensor([True, True, False]), rate(100))


@pytest.mark.parametrize("mask", [[], [True, False]])
def test_a_chunk_with_as_many_sound_blocks_goes_on(mask: list[bool]) -> None:
    raise_if_most_diverged(torch.tensor(mask), rate(100))
