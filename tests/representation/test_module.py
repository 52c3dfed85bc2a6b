"""A representation as a module: the same values, gradients, training, copies and devices."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import STORAGES, make_spec, random_representation
from torch import Tensor
from torch.func import functional_call

from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation import Representation, load
from miner.representation.storage import Storage

SHOWN = random_representation(make_spec((23, 30)))
POINTS = 2 * torch.rand(40, 2, dtype=torch.float64, generator=torch.manual_seed(0)) - 1


@pytest.mark.parametrize("storage", STORAGES)
def test_module_has_the_bits_of_the_representation(storage: Storage) -> None:
    shown = random_representation(make_spec((23, 30), storage=storage))
    module = shown.to_module()
    for level in range(3):
        rendered = module.render(level).detach().numpy()
        np.testing.assert_array_equal(rendered, shown.render(level))
    assert torch.equal(module(POINTS), shown(POINTS))
    assert torch.equal(
        module.render(0, ((3, 7), (0, 9)), clip=False), shown.reconstruct()[:, 3:7, :9]
    )
    assert sum(one.numel() for one in module.parameters()) == shown.n_parameters


def test_changing_the_module_does_not_change_the_representation() -> None:
    before = SHOWN.render()
    module = SHOWN.to_module()
    with torch.no_grad():
        for one in module.parameters():
            one.add_(1)
    assert np.array_equal(SHOWN.render(), before)
    assert not np.array_equal(module.representation().render(), before)


@pytest.mark.parametrize("pyramid", [GaussianPyramid(), LaplacianPyramid()])
@pytest.mark.parametrize("at_points", [True, False])
def test_gradients_are_those_of_differences(pyramid: Pyramid, at_points: bool) -> None:
    module = random_representation(make_spec((13, 9), 2, pyramid=pyramid)).to_module()

    def total() -> Tensor:
        return (module(POINTS, clip=False) if at_points else module.render(clip=False)).sum()

    total().backward()
    for level in (0, 1):
        named = [p for n, p in module.named_parameters() if n.startswith(f"level{level}")]
        parameter = next(p for p in named if p.grad is not None and p.grad.any())
        assert parameter.grad is not None
        place = tuple(torch.nonzero(parameter.grad.abs() == parameter.grad.abs().amax())[0])
        with torch.no_grad():
            parameter[place] += 1e-2
            above = total()
            parameter[place] -= 2e-2
            difference = (above - total()) / 2e-2
            parameter[place] += 1e-2
        assert float(parameter.grad[place]) == pytest.approx(float(difference), rel=0.02)


def test_trains_in_a_loss_and_is_stored(tmp_path: Path) -> None:
    module = random_representation(make_spec((13, 9), 2)).to_module()
    optimizer = torch.optim.Adam(module.parameters(), 0.03)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = (module.render(clip=False) - 0.5).square().mean()
        loss = loss + (module(POINTS, clip=False) - 0.5).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    stored = load(module.representation().save(tmp_path))
    np.testing.assert_array_equal(stored.render(), module.render().detach().numpy())


def test_points_have_gradients_through_the_module_too() -> None:
    points = POINTS.clone().requires_grad_()
    SHOWN.to_module()(points, clip=False).sum().backward()
    assert points.grad is not None and points.grad.abs().amax() > 0.1


def state_loaded(module: torch.nn.Module) -> torch.nn.Module:
    other = SHOWN.to_module()
    with torch.no_grad():
        for one in other.parameters():
            one.fill_(1)
    other.load_state_dict(module.state_dict())
    return other


@pytest.mark.parametrize("copied", [copy.deepcopy, state_loaded])
def test_copies_are_alike_and_apart(copied: Callable[[torch.nn.Module], torch.nn.Module]) -> None:
    module = random_representation(SHOWN.spec).to_module()
    other = copied(module)
    assert torch.equal(other(POINTS), module(POINTS))
    with torch.no_grad():
        next(module.parameters()).add_(1)
    assert not torch.equal(other(POINTS), module(POINTS))


def test_a_functional_call_uses_other_parameters() -> None:
    module = SHOWN.to_module()
    zeros = {name: torch.zeros_like(one) for name, one in module.named_parameters()}
    zeros |= {name: torch.ones_like(one) for name, one in zeros.items() if name.endswith("_a")}
    assert not functional_call(module, zeros, (POINTS,)).any()


def test_no_gradient_where_none_is_wanted() -> None:
    module = SHOWN.to_module().requires_grad_(False)
    assert not module.render().requires_grad
    with torch.no_grad():
        assert not SHOWN.to_module()(POINTS).requires_grad


@pytest.mark.slow
def test_rendering_takes_no_longer_than_that_of_the_representation() -> None:
    shown = random_representation(replace(make_spec((200, 200)), patch_size=16))
    module = shown.to_module()

    def shortest(render: Callable[[], object]) -> float:
        found = math.inf
        for _ in range(5):
            began = time.perf_counter()
            render()
            found = min(found, time.perf_counter() - began)
        return found

    with torch.no_grad():
        assert shortest(module.render) < 1.5 * shortest(shown.render) + 0.01


def test_a_module_without_blocks_renders_too() -> None:
    module = Representation(make_spec((23, 30)), {}).to_module()
    assert not list(module.parameters())
    assert torch.equal(module.render(), torch.zeros(2, 23, 30))
