"""The training of networks: its rates, the state that it keeps, and when it has diverged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peer_runs import SMALL, fit
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from miner.peers.grids import Grid
from miner.peers.network import PeerNetwork, Sides, check_network


class Unsteady(Grid):
    """A grid of values, which each step of a training sees times the next of some factors."""

    def __init__(
        self, sides: Sides, n_outputs: int, size: int, factors: Sequence[float], initial: float
    ) -> None:
        super().__init__(sides, n_outputs, size, initial)
        self.factors = iter(factors)

    def forward(self, xy: Tensor) -> Tensor:
        values = super().forward(xy)
        return values * next(self.factors) if torch.is_grad_enabled() else values


class Chooser(PeerNetwork):
    """A network that reads numbers, which no tensor on the meta device has."""

    def __init__(self, sides: Sides, n_outputs: int, size: int) -> None:
        super().__init__(sides, n_outputs, size)
        self.values = torch.nn.Parameter(torch.zeros(size, n_outputs))

    def forward(self, xy: Tensor) -> Tensor:
        return self.values[[int(v.item() > 0) for v in xy[:, 0]]]


def fit_unsteady(folder: Path, factors: Sequence[float]) -> dict[str, Any]:
    network = f"method.network._target_={__name__}.Unsteady", f"+method.network.factors={factors}"
    steps = f"method.max_steps={len(factors)}", "method.lr=0.1", "method.final_lr_ratio=1"
    return fit(folder, "method=grid", *network, *steps)


def test_the_best_state_is_kept_not_the_first_or_the_last(tmp_path: Path) -> None:
    report = fit_unsteady(tmp_path / "run", [1.0] * 3 + [-1.0] * 20)
    curve = report["curve"]["psnr_db"]
    assert report["diverged"] is True, "the test needs a last state that is worse than the first"
    assert report["psnr_db"] == pytest.approx(max(curve), abs=1e-3)
    assert max(curve) > curve[0] + 3


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method=mfn", "method.lr=1e30"], "the error is not finite; the best state is kept"),
        (["method=mfn", "method.lr=1e30", "method.max_steps=1"], "step 1: the error is not finite"),
        (["method=fourier_features", "method.lr=10"], "the error ends above its start; the best"),
    ],
)
def test_divergence_is_reported_and_scores_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, overrides: list[str], said: str
) -> None:
    report = fit(tmp_path / "run", *SMALL, *overrides)
    assert (report["diverged"], report["status"]) == (True, "finished")
    assert report["psnr_db"] == pytest.approx(report["curve"]["psnr_db"][0], abs=1e-3)
    assert [said in record.message for record in caplog.records].count(True) == 1


def test_a_later_batch_does_not_hide_an_error_that_is_not_finite(tmp_path: Path) -> None:
    assert fit_unsteady(tmp_path / "run", [1e30, 1.0, 1.0])["diverged"] is True


def of_steps(folder: Path, *limits: str) -> list[dict[str, Any]]:
    """What Adam had in each step of a training whose rate falls from 0.02 to 0.002."""
    groups: list[dict[str, Any]] = []
    hook = register_optimizer_step_post_hook(
        lambda optimizer, *_: groups.append(dict(optimizer.param_groups[0]))
    )
    own = "method.lr=0.02", "method.final_lr_ratio=0.1", "+method.betas=[0.8,0.95]"
    fit(folder, "method=grid", *own, "+method.eps=1e-3", *limits)
    hook.remove()
    return groups


def test_adam_has_the_settings_of_the_method(tmp_path: Path) -> None:
    groups = of_steps(tmp_path / "run", "method.max_steps=3")
    assert groups[0]["lr"] == 0.02
    assert {(group["betas"], group["eps"]) for group in groups} == {((0.8, 0.95), 1e-3)}


def test_the_rate_decays_over_the_steps(tmp_path: Path) -> None:
    groups = of_steps(tmp_path / "run", "method.max_steps=100", "method.max_seconds=1000")
    expected = [0.02 * 0.1 ** (step / 100) for step in range(100)]
    assert [group["lr"] for group in groups] == pytest.approx(expected, rel=0.03)


def test_the_rate_decays_over_the_time(tmp_path: Path) -> None:
    groups = of_steps(tmp_path / "run", "method.max_steps=1000000", "method.max_seconds=1")
    assert 0.002 <= groups[-1]["lr"] < 0.004


def test_networks_that_need_numbers_are_accepted() -> None:
    check_network(Chooser, (8, 8), 3)
