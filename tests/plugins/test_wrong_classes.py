"""Classes of somebody else's that break a rule: one sentence, before a fit begins."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from block_problems import noise
from charbonnier import CharbonnierLoss
from in_process import compose, run
from skip import SkipNetwork
from tanh import Tanh
from tiled import ROOT, images, tiled
from torch import Generator, Tensor

import miner
from miner.config.build import build_metrics
from miner.evaluate import main as evaluate
from miner.fitting.criteria import Loss
from miner.metrics.base import TileMetric
from miner.metrics.scores import Evaluation
from miner.models.network import Parameters
from miner.pyramids import LaplacianPyramid
from miner.render import main as render
from miner.representation.storage import Float16Storage
from miner.signals.grid import PatchGrid
from miner.support.errors import ConfigError
from miner.support.ranges import Positive

HERE = Path(__file__).parent
TINY: dict[str, Any] = {
    "patch_size": 8,
    "capacity": "uniform",
    "pyramid.n_levels": 2,
    "model.width": 4,
    "fitting": {"max_steps": 2},
}


def fit(*sides: int, **settings: Any) -> miner.Representation:
    """A tiny fit in which nothing but the settings is wrong."""
    axes = "C" + "DHW"[-len(sides) :]
    return miner.fit(noise(2, *sides).numpy(), axes=axes, **TINY, **settings)


def mine(cls: type) -> str:
    return f"{__name__}.{cls.__name__}"


@dataclass(frozen=True)
class Forgetful(LaplacianPyramid):
    """Merges less than was fitted."""

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        return prediction + 0.99 * output


@dataclass(frozen=True)
class Mirrored(LaplacianPyramid):
    """Right for whole patches: it mirrors rows, and those of a patch that is cut are others."""

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        return super().target(signal, prediction).flip(2)

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        return prediction + output.flip(2)


@dataclass(frozen=True)
class OddlyWrong(LaplacianPyramid):
    """Loses the last column where there is no other to pair it with."""

    def target(self, signal: Tensor, prediction: Tensor) -> Tensor:
        difference = signal - prediction
        difference[..., signal.shape[-1] // 2 * 2 :] = 0
        return difference


@dataclass(frozen=True)
class Undefined(LaplacianPyramid):
    """Gives NaN."""

    def merge(self, prediction: Tensor, output: Tensor) -> Tensor:
        return prediction + output * torch.nan


@pytest.mark.parametrize(
    ("cls", "sides"),
    [
        *((cls, (16, 16)) for cls in (Forgetful, Undefined)),
        *((Mirrored, (19, 16)), (OddlyWrong, (16, 19)), (OddlyWrong, (8, 16, 11))),
    ],
)
def test_a_pyramid_that_does_not_merge_to_the_signal_is_refused(
    cls: type, sides: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigError, match=rf"^pyramid={cls.__name__}\(.*: merge\(p, target\(s, p"):
        fit(*sides, **{"pyramid._target_": mine(cls)})


@dataclass(frozen=True)
class Unread(LaplacianPyramid):
    """Claims that blocks do without the prediction, and adds it."""

    merges_prediction: ClassVar[bool] = False


def test_a_pyramid_that_hides_that_it_merges_the_prediction_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^pyramid=Unread\(.*set merges_prediction = True$"):
        fit(16, 16, **{"pyramid._target_": mine(Unread)})


@dataclass(frozen=True)
class Thirds(LaplacianPyramid):
    """Reduces to other sides than those of a level."""

    def reduce(self, signal: Tensor) -> Tensor:
        return signal[..., ::3]


@dataclass(frozen=True)
class Short(LaplacianPyramid):
    """Expands to other sides than it is asked for."""

    def expand(self, signal: Tensor, sides: tuple[int, ...]) -> Tensor:
        return super().expand(signal, sides)[..., :-1]


@pytest.mark.parametrize("cls", [Thirds, Short])
def test_a_pyramid_with_levels_of_other_sides_is_refused(cls: type) -> None:
    with pytest.raises(ConfigError, match=rf"^pyramid={cls.__name__}\(.*: reduce must give"):
        fit(16, 16, **{"pyramid._target_": mine(cls)})


@pytest.mark.parametrize("cls", [Mirrored, OddlyWrong])
def test_what_goes_wrong_at_other_sides_alone_is_fitted(cls: type) -> None:
    assert fit(16, 16, **{"pyramid._target_": mine(cls)}).render().shape == (2, 16, 16)


@dataclass(frozen=True)
class Centred(SkipNetwork):
    """Takes the mean over all blocks off."""

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        features = super().features(parameters, encoded)
        return features - features.mean(0)


@dataclass(frozen=True)
class Cumulative(SkipNetwork):
    """Adds up the blocks before each, so that the first is right."""

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        return super().features(parameters, encoded).cumsum(0)


@dataclass(frozen=True)
class Doubled(SkipNetwork):
    """Has twice as many features as its width."""

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        return super().features(parameters, encoded).repeat(1, 2, 1)


@dataclass(frozen=True)
class Summed(SkipNetwork):
    """Lacks the axis of blocks."""

    def features(self, parameters: Mapping[str, Tensor], encoded: Tensor) -> Tensor:
        return super().features(parameters, encoded).sum(0)


@dataclass(frozen=True)
class Transposed(SkipNetwork):
    """Draws weights that have their axes in the other order."""

    def draw(self, n_inputs: int, generator: Generator) -> Parameters:
        return super().draw(n_inputs, generator) | {"skip": torch.zeros(self.width, n_inputs)}


@dataclass(frozen=True)
class Renamed(SkipNetwork):
    """Draws one that is not in shapes."""

    def draw(self, n_inputs: int, generator: Generator) -> Parameters:
        return super().draw(n_inputs, generator) | {"third": torch.zeros(3)}


@pytest.mark.parametrize("readout", ["closed_form", "learned"])
@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (Centred, "must not depend on other blocks"),
        (Cumulative, "must not depend on other blocks"),
        (Doubled, r"must be \(B, H, P\), here \(2, 4, 64\), not \(2, 8, 64\)$"),
        (Summed, r"must be \(B, H, P\), here \(2, 4, 64\), not \(4, 64\)$"),
        (Transposed, r"draw gives .*'skip': \(4, 16\).*, but shapes says .*'skip': \(16, 4\)"),
        (Renamed, r"draw gives .*'third': \(3,\)"),
    ],
)
def test_a_network_that_breaks_a_rule_is_refused(cls: type, rule: str, readout: str) -> None:
    with pytest.raises(ConfigError, match=rf"^model={cls.__name__}\(.*{rule}"):
        fit(16, 16, readout=readout, **{"model._target_": mine(cls), "~model.depth": None})


@dataclass(frozen=True)
class Logarithm(Tanh):
    """Has no value for half of its arguments."""

    def __call__(self, u: Tensor, trained: Mapping[str, Tensor]) -> Tensor:
        return u.log()


@dataclass(frozen=True)
class Root(CharbonnierLoss):
    """Has no derivative anywhere, although its value is finite."""

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        return mse + (0 * mse).sqrt()


@pytest.mark.parametrize("readout", ["closed_form", "learned"])
@pytest.mark.parametrize(
    ("group", "cls", "left_out", "rule"),
    [
        ("activation", Logarithm, "omega", "NaN at the start, or"),
        ("loss", Root, "floor", "it or its derivative is NaN"),
    ],
)
def test_numbers_that_are_none_from_the_start_are_not_blamed_on_the_rate(
    group: str, cls: type, left_out: str, rule: str, readout: str
) -> None:
    own = {"loss": "log_mse", f"{group}._target_": mine(cls), f"~{group}.{left_out}": None}
    with pytest.raises(ConfigError, match=rf"^loss=.*{cls.__name__}\(.* {rule}"):
        fit(16, 16, readout=readout, **own)


@dataclass(frozen=True)
class Flattened(CharbonnierLoss):
    """Leaves an axis of pixels."""

    halo = 1

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        return residual.square().mean(dim=(1, 2))


@dataclass(frozen=True)
class Half(Flattened):
    """Looks at half a pixel."""

    halo = 0.5  # type: ignore[assignment]


@dataclass(frozen=True)
class Inward(Flattened):
    """Looks at fewer pixels than a block has."""

    halo = -1


@dataclass(frozen=True)
class OneForAll(CharbonnierLoss):
    """One number for all blocks."""

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        return super().__call__(residual, mse).mean()


@dataclass(frozen=True)
class Relative(CharbonnierLoss):
    """Each block's part of the errors of all."""

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        return mse / mse.sum()


@dataclass(frozen=True)
class Detached(CharbonnierLoss):
    """Has nothing to lower."""

    def __call__(self, residual: Tensor, mse: Tensor) -> Tensor:
        return mse.detach()


class Unfinished(Loss):
    """Lacks the method."""


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (
            Flattened,
            r"^loss=Flattened\(scale=0.01\): must give a number for each .*, not \(2, 10\)$",
        ),
        (OneForAll, r"^loss=OneForAll.*a number for each block, \(2,\), not \(\)$"),
        (Relative, r"^loss=Relative.* must not depend on other blocks"),
        (Detached, r"^loss=Detached.* has no derivative"),
        (Half, r"^loss=Half\(scale=0.01\): halo=0.5 must be a whole number of pixels"),
        (Inward, r"^loss=Inward\(scale=0.01\): halo=-1 must be a whole number of pixels"),
        (Unfinished, r"Unfinished: Can't instan.* the class a frozen dataclass with all methods"),
    ],
)
def test_a_loss_that_breaks_a_rule_is_refused(cls: type, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(16, 16, **{"loss": "log_mse", "loss._target_": mine(cls), "~loss.floor": None})


@dataclass(frozen=True)
class Weighted(Tanh):
    """Trains a number with the name of a layer's tensor."""

    trained_fields = ("weight",)
    weight: Positive = 1.0


def test_a_trained_number_may_not_be_called_as_a_tensor_of_a_layer() -> None:
    with pytest.raises(
        ConfigError, match=r"^activation=Weighted\(.*: weight: a layer has a tensor"
    ):
        fit(16, 16, **{"activation._target_": mine(Weighted), "~activation.omega": None})


def test_a_setting_of_the_chosen_file_can_be_left_out_as_the_message_says() -> None:
    own = {"loss": "log_mse", "loss._target_": "charbonnier.CharbonnierLoss"}
    with pytest.raises(ConfigError, match=r"'floor'.* is left out by ~loss\.SETTING$"):
        fit(16, 16, **own)
    fit(16, 16, **own, **{"~loss.floor": None})


class Bright(TileMetric):
    """The mean of what is rendered, with a halo."""

    def __init__(self, halo: Any = 0) -> None:
        super().__init__()
        self.halo = halo
        self.add_state("total", torch.zeros(()), "sum")

    def update(self, preds: Tensor, target: Tensor, tile: Any, sides: tuple[int, ...]) -> None:
        self.total += preds.mean()

    def compute(self) -> Tensor:
        return self.total


class Spoiling(Bright):
    """Changes what it is given."""

    def update(self, preds: Tensor, target: Tensor, tile: Any, sides: tuple[int, ...]) -> None:
        super().update(preds, target, tile, sides)
        preds.zero_()
        target.zero_()


@pytest.mark.parametrize("halo", ["'1'", -1, 1.5, "null"])
def test_a_halo_that_counts_no_pixels_is_refused(tmp_path: Path, halo: object) -> None:
    own = (f"+metrics.mine._target_={mine(Bright)}", f"+metrics.mine.halo={halo}")
    with pytest.raises(ConfigError, match=r"^metrics\.mine: Bright\.halo=.*: must be a whole numb"):
        build_metrics(compose(tmp_path, *own))


def test_a_metric_that_changes_its_tensors_spoils_no_other() -> None:
    target, preds = images(1, 20, 20)
    before = target.clone(), preds.clone()
    found = []
    for metrics in ({}, {"spoiling": Spoiling(), "mine": Bright()}):
        evaluation = Evaluation(PatchGrid((20, 20), 4), 1, metrics)
        evaluation.add(((0, 20), (0, 20)), target, preds)
        found.append(evaluation.scores())
    assert found[1].items() >= found[0].items()
    assert found[1]["mine"] == tiled(Bright(), target, preds, 20) > 0
    assert torch.equal(target, before[0]) and torch.equal(preds, before[1])


def test_a_command_imports_the_classes_that_a_run_needs(tmp_path: Path) -> None:
    options = f"hydra.searchpath=[file://{HERE}/conf]"
    report = run(tmp_path / "run", options, "model=product", "activation=tanh")
    own = [word for name in ("product", "tanh") for word in ("--import", name)]
    scored = subprocess.run(
        [sys.executable, "-m", "miner.evaluate", "run", *own],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"},
        capture_output=True,
        text=True,
    )
    assert scored.returncode == 0, scored.stderr
    (psnr_db,) = (line.split()[1] for line in scored.stdout.splitlines() if "psnr_db" in line)
    assert float(psnr_db) == pytest.approx(report["psnr_db"], abs=1e-3)


@pytest.mark.parametrize("command", [render, evaluate])
def test_a_module_that_is_not_there_is_told_in_one_line(
    command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(["run", "out.tif", "--import", "nowhere_to_be_found"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(
        "argument --import: No module named 'nowhere_to_be_found'; is its folder in PYTHONPATH?"
    )


@dataclass(frozen=True)
class Coarse(Float16Storage):
    """Decodes to another type than that of parameters."""

    def decode(self, stored: Mapping[str, Tensor]) -> Parameters:
        return dict(stored)


@dataclass(frozen=True)
class Lossy(Float16Storage):
    """Leaves a tensor out."""

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        return super().encode(dict(sorted(parameters.items())[1:]))


@dataclass(frozen=True)
class Infinite(Float16Storage):
    """Gives NaN."""

    def encode(self, parameters: Mapping[str, Tensor]) -> Parameters:
        return super().encode({name: t * torch.nan for name, t in parameters.items()})


@pytest.mark.parametrize("cls", [Coarse, Lossy, Infinite])
def test_a_storage_that_does_not_give_parameters_back_is_refused(cls: type) -> None:
    with pytest.raises(ConfigError, match=rf"^storage={cls.__name__}\(\): decode\(encode\("):
        fit(16, 16, **{"storage._target_": mine(cls)})
