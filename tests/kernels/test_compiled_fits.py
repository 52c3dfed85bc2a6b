"""Compiled fits: bit for bit the same however they are run, and as good as plain ones."""

import importlib.util
import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from block_problems import ACTIVATIONS, READOUTS, flat_and_busy, noise, problem
from kernel_problems import SETTINGS
from torch import Tensor

import miner
from miner.fitting.readout import ClosedFormReadout
from miner.models.activations import Activation
from miner.representation import Representation


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores PyTorch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("readout", READOUTS)
def test_neither_threads_nor_a_second_fit_change_a_bit(readout: str, threads: None) -> None:
    fits = []
    for n_threads in (1, 2, 5, 5):
        torch.set_num_threads(n_threads)
        fits.append(problem(readout).compiled().fit())
    for other in fits[1:]:
        torch.testing.assert_close(other.parameters, fits[0].parameters, rtol=0, atol=0)
        assert torch.equal(other.mse, fits[0].mse)


def variance(targets: Tensor) -> Tensor:
    return targets.var(-1, correction=0).mean(-1)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
def test_constant_features_leave_the_mean_of_the_targets(activation: Activation) -> None:
    still = partial(torch.optim.Adam, lr=0.0)
    given = problem(activation=activation).with_steps(optimizer=still).compiled()
    given.start["hidden.1.weight"].zero_()
    torch.testing.assert_close(given.fit().mse, variance(given.targets), rtol=1e-4, atol=0)


@pytest.mark.parametrize("ridge", [0.0, 1e-18])
def test_a_ridge_too_small_to_solve_with_is_raised(ridge: float) -> None:
    given = problem().compiled()._replace(readout=ClosedFormReadout(ridge))
    for name in ("hidden.1.weight", "hidden.1.bias"):
        given.start[name] = given.start[name][..., [0, 1, 0, 1, 0]].contiguous()
    found = given.fit()
    assert bool((found.mse <= 1.001 * variance(given.targets)).all())
    torch.testing.assert_close(found.mse, given.measured(found.parameters), rtol=1e-2, atol=1e-7)


def fitted(signal: Tensor, backend: Any = "compiled", **changes: Any) -> Representation:
    image = {"axes": "CDHW" if signal.ndim == 4 else "CHW", "range": "dtype"}
    return miner.fit(signal, backend=backend, image=image, **SETTINGS | changes)


def error(signal: Tensor, **changes: Any) -> float:
    return float((fitted(signal, **changes).reconstruct() - signal).square().mean())


TRITON = {"_target_": "miner.kernels.backend.TritonBackend"}
SMALL = {"model.width": 3, "fitting.max_steps": 2}
SIZED = {"pyramid": "gaussian", "pyramid.n_levels": 1, "capacity": "target_error"}


@pytest.mark.skipif(
    torch.cuda.is_available() or importlib.util.find_spec("triton") is None,
    reason="a fit on the CPU, by Triton's interpreter",
)
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"storage": "int8", "weights": "shared"}, marks=pytest.mark.slow),
        pytest.param({"readout": "learned", "fitting.batch_pixels": 20}, marks=pytest.mark.slow),
        SIZED | {"capacity.probe_steps": 1, "capacity.max_width": 4},
    ],
    ids=["rounded", "learned", "sized"],
)
def test_a_whole_fit_by_triton_is_as_good_as_a_plain_one(changes: dict[str, Any]) -> None:
    image = noise(1, 8, 11)  # two patches, one of them not whole
    errors = [error(image, backend=b, **SMALL | changes) for b in ("eager", TRITON)]
    assert 10 * abs(math.log10(errors[0] / errors[1])) < 0.05


PYRAMIDS, STORAGES = ("gaussian", "laplacian"), ("float32", "float16", "int8")
COMBINATIONS = [
    pytest.param(
        {"storage": storage, "pyramid": pyramid} | other,
        marks=[pytest.mark.slow] * ((storage, pyramid) != ("int8", "laplacian")),
    )
    for storage, pyramid in product(STORAGES, PYRAMIDS)
    for other in (
        *({"weights": weights} for weights in ("fresh", "shared", "parent_frame")),
        {"readout": "learned"},
    )
]


@pytest.mark.parametrize("changes", COMBINATIONS, ids=str)
def test_a_whole_fit_is_as_good_as_a_plain_one(changes: dict[str, str]) -> None:
    errors = [error(flat_and_busy(29, 23), backend=b, **changes) for b in ("compiled", "eager")]
    assert 10 * abs(math.log10(errors[0] / errors[1])) < 0.05


@pytest.mark.parametrize("sides", [(1, 1), (1, 19), (13, 7), (3, 5, 7), (1, 1, 11)], ids=str)
def test_any_size_is_fitted_as_well_as_by_plain_steps(sides: tuple[int, ...]) -> None:
    few = {"activation": "sine", "optimizer.lr": 2e-2, "fitting.max_steps": 4}
    errors = [error(flat_and_busy(*sides), backend=b, **few) for b in ("compiled", "eager")]
    assert errors[0] == pytest.approx(errors[1], rel=0.02, abs=1e-9)
