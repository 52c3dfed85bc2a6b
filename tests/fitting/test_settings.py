"""Values over levels and steps, pruning criteria, losses, optimisers, random draws."""

import math
from functools import partial

import pytest
import torch
from block_problems import noise, problem
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.criteria import (
    AbsoluteMSEPruning,
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LogMSELoss,
    MSELoss,
    NoPruning,
    PlateauPruning,
    Pruning,
)
from miner.fitting.settings import at_level
from miner.fitting.soap import SOAP
from miner.fitting.steps import (
    OptimizerFactory,
    generator,
    keep_blocks,
    pixel_subset,
    probe,
    without_parameters,
)
from miner.kernels.backend import CompiledBackend

INF = math.inf


@pytest.mark.parametrize(("level", "value"), [(0, 20), (1, 32), (2, 64), (3, 64), (9, 64)])
def test_a_list_ends_at_the_finest_level_and_repeats_its_first(level: int, value: int) -> None:
    assert at_level([64, 32, 20], level) == value
    assert at_level(5, level) == 5


def test_schedules_fall_from_one() -> None:
    assert {ConstantSchedule().factor(step, 9) for step in range(9)} == {1.0}
    factors = [CosineSchedule(final_ratio=0.1).factor(step, 8) for step in range(9)]
    assert factors == sorted(factors, reverse=True)
    assert [factors[0], factors[4], factors[8]] == pytest.approx([1, 0.55, 0.1])
    assert ExponentialSchedule(0.5).factor(3, 100) == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("pruning", "expected"),
    [
        (AbsoluteMSEPruning(), [True, True, True, True, False]),  # errors up to the bound
        (PlateauPruning(min_change=0.1), [False, False, True, True, True]),  # of either sign
        (NoPruning(), [False] * 5),
    ],
)
def test_pruning_names_blocks_that_converged(pruning: Pruning, expected: list[bool]) -> None:
    now = torch.tensor([0.0, 0.5, 1.0, 1.0, 1.1])
    before = torch.tensor([INF, 1.5, 1.05, 0.95, 1.1])
    assert pruning.converged(now, before, 1.0).tolist() == expected
    for mse in (math.nan, INF):  # it diverged
        assert not pruning.converged(torch.tensor([mse]), torch.tensor([INF]), 1.0)


def test_mse_loss_is_the_error_and_log_loss_divides_its_gradient_by_it() -> None:
    unused = torch.empty(0)
    assert MSELoss()(unused, torch.tensor([2.0, 3.0])).tolist() == [2.0, 3.0]
    mse = torch.tensor([1e-2, 1e-6, 0.0], dtype=torch.float64, requires_grad=True)
    LogMSELoss(floor=1e-4)(unused, mse).sum().backward()
    torch.testing.assert_close(mse.grad, 1 / (mse.detach() + 1e-4))


@pytest.mark.parametrize(
    ("backend", "device"),
    [(EagerBackend(), "meta"), (CompiledBackend(), "cpu")],
    ids=["eager", "compiled"],
)
def test_more_memory_admits_more_blocks_but_at_least_one(backend: Backend, device: str) -> None:
    few, many = (max_blocks(backend, 36, gib, device) for gib in (0.01, 1))
    assert many >= 99 * few
    assert max_blocks(backend, 10**6, 1e-9, "cpu") == max_blocks(backend, 10**6, 1e-9, "meta") == 1
    few, many = (max_blocks(EagerBackend(), 36, gib, "cpu") for gib in (1, 100))
    assert few == many < 10**5  # a layer of a batch stays in the cache


def max_blocks(backend: Backend, n_pixels: int, memory_gib: float, device: str) -> int:
    encoded = torch.empty(6, n_pixels, device=device)
    return backend.max_blocks(problem().network, encoded, memory_gib)


OPTIMIZERS = {
    "Adam": partial(torch.optim.Adam, lr=2e-2),
    "amsgrad": partial(torch.optim.Adam, lr=2e-2, amsgrad=True),
    "fused": partial(torch.optim.Adam, lr=2e-2, fused=True),
    "RAdam": partial(torch.optim.RAdam, lr=2e-2),
    "NAdam": partial(torch.optim.NAdam, lr=2e-2),
    "SOAP": partial(SOAP, lr=2e-2),
    "AdamW": partial(torch.optim.AdamW, lr=2e-2),
    "Adagrad": partial(torch.optim.Adagrad, lr=2e-2),
    "RMSprop": partial(torch.optim.RMSprop, lr=2e-2, momentum=0.5),
    "SGD": partial(torch.optim.SGD, lr=2e-2),
    "momentum": partial(torch.optim.SGD, lr=2e-2, momentum=0.9, nesterov=True),
}
MIXERS = [
    name for name in ("LBFGS", "Muon", "Adafactor", "SparseAdam") if hasattr(torch.optim, name)
]


class NormalisedSGD(torch.optim.SGD):
    """Divides by the norm over all blocks, as gradient clipping does."""

    def step(self) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            parameter.grad /= parameter.grad.norm()
        super().step()


@pytest.mark.parametrize("factory", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_element_wise_optimisers_are_admitted(factory: OptimizerFactory) -> None:
    probe(factory)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_of_adams_kin_need_no_parameters(name: str) -> None:
    found = without_parameters(OPTIMIZERS[name])
    is_known = name in ("Adam", "amsgrad", "RAdam", "NAdam", "AdamW", "SOAP")
    assert (found is not None) == is_known
    if found is not None:
        trained = OPTIMIZERS[name]([nn.Parameter(torch.zeros(1))])
        assert type(found) is type(trained)
        assert found.defaults == trained.defaults


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (partial(NormalisedSGD, lr=1e-2), "optimizer=NormalisedSGD"),
        (partial(torch.optim.Adam, surprise=1), r"optimizer=Adam: .*surprise.*~optimizer"),
        (partial(torch.optim.Adam, lr=-1.0), "optimizer=Adam: .*Invalid learning rate: -1"),
        (partial(torch.optim.RAdam, betas=(2.0, 0.9)), "optimizer=RAdam: .*Invalid beta"),
        (partial(torch.optim.NAdam, betas=(0.9, 0.9, 0.9)), "optimizer=NAdam: ValueError: too"),
        (partial(torch.optim.Adam, fused=True, differentiable=True), "optimizer=Adam: .*fused"),
    ],
)
def test_refusals_name_the_optimiser_and_the_reason(factory: OptimizerFactory, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        probe(factory)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("lr", [1.0, 1e-2, 1e-6])
def test_optimisers_that_mix_blocks_are_refused_by_name(name: str, lr: float) -> None:
    with pytest.raises(ValueError, match=rf"^optimizer={name}: .*use an element-wise"):
        probe(partial(getattr(torch.optim, name), lr=lr))


def walk(factory: OptimizerFactory, keep_after: int | None, blocks: Tensor) -> dict[str, Tensor]:
    """Six steps of five blocks, of which `blocks` are kept from the start or after some steps."""
    start = {"weight": noise(5, 3, 2).double(), "a": noise(5).double()}
    gradients = {"weight": noise(6, 5, 3, 2, seed=1).double(), "a": noise(6, 5, seed=2).double()}
    present = torch.arange(5) if keep_after is not None else blocks
    parameters = {name: nn.Parameter(tensor[present]) for name, tensor in start.items()}
    optimizer = factory(parameters.values())
    for step in range(6):
        if step == keep_after:
            parameters, present = keep_blocks(optimizer, parameters, blocks), blocks
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][step, present]
        optimizer.step()
    return {name: parameter.detach() for name, parameter in parameters.items()}


@pytest.mark.parametrize("keep_after", [0, 3])
@pytest.mark.parametrize("blocks", [[0, 2, 3], [4], []], ids=str)
@pytest.mark.parametrize("factory", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_kept_blocks_move_as_if_alone_from_the_start(
    factory: OptimizerFactory, blocks: list[int], keep_after: int
) -> None:
    index = torch.tensor(blocks, dtype=torch.long)
    kept, alone = walk(factory, keep_after, index), walk(factory, None, index)
    torch.testing.assert_close(kept, alone, rtol=0, atol=1e-14)


def test_states_without_an_axis_of_blocks_stay_whole() -> None:
    parameter = nn.Parameter(noise(5, 3))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    states = {"step": torch.tensor(7.0), "history": noise(4, 2), "sums": noise(5, 2), "none": None}
    optimizer.state[parameter] = states
    (kept,) = keep_blocks(optimizer, {"weight": parameter}, torch.tensor([1])).values()
    assert optimizer.state[kept]["step"] == 7
    assert optimizer.state[kept]["history"].shape == (4, 2)
    assert torch.equal(optimizer.state[kept]["sums"], states["sums"][1:2])
    assert parameter not in optimizer.state


KEY = (0, 1, "pixels")


def test_equal_keys_draw_equal_numbers_and_others_do_not() -> None:
    keys = [(0, 1), (1, 0), (0, 1, "readout"), (0, 1, 0), (0,), (-1,)]
    drawn = [[float(torch.rand((), generator=generator(*key))) for key in keys] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == len(keys)


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 3))
def test_a_pass_visits_each_pixel_once(n_pixels: int, n_drawn: int, turn: int) -> None:
    n_parts = -(-n_pixels // n_drawn)
    steps = range(turn * n_parts, (turn + 1) * n_parts)
    drawn = [pixel_subset(n_pixels, n_drawn, step, *KEY) for step in steps]
    assert max(len(part) for part in drawn) <= n_drawn
    assert torch.cat(drawn).sort().values.tolist() == list(range(n_pixels))


def test_other_passes_and_levels_have_another_order() -> None:
    first = pixel_subset(50, 50, 0, *KEY)
    assert not torch.equal(first, pixel_subset(50, 50, 1, *KEY))
    assert not torch.equal(first, pixel_subset(50, 50, 0, 0, 2, "pixels"))
