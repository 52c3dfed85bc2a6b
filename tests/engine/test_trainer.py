"""Arguments of Lightning's Trainer: each works, or is refused with the reason."""

import inspect
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytorch_lightning as pl
import torch
from in_process import compose, run, shards

from miner.config.schema import check_config
from miner.config.trainer import REFUSED, REFUSED_CALLBACKS, TrainerConfig
from miner.engine.trainer import make_trainer
from miner.support.errors import ConfigError

ARGUMENTS = set(inspect.signature(pl.Trainer).parameters)
WORKING = set(TrainerConfig.model_fields) - {"target"}


def test_every_argument_works_or_is_refused() -> None:
    assert WORKING | set(REFUSED) == ARGUMENTS
    assert not WORKING & set(REFUSED)


@pytest.mark.parametrize("argument", REFUSED)
def test_an_argument_without_meaning_is_refused_with_the_reason(
    tmp_path: Path, argument: str
) -> None:
    config = compose(tmp_path, f"+trainer.{argument}=1")
    with pytest.raises(ConfigError, match=f"trainer.{argument}=1: {REFUSED[argument][:20]}"):
        check_config(config)


@pytest.mark.parametrize(
    "setting",
    [
        "precision=16-mixed",
        "precision=bf16-mixed",
        "max_time=90s",
        "max_time=9999999:00:00:00",
        "fast_dev_run=-1",
        "devices=0",
    ],
)
def test_values_without_meaning_are_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"^trainer.{setting}: must be "):
        check_config(compose(tmp_path, f"trainer.{setting}"))


class Noted(pl.Callback):
    """Adds what it sees of the Trainer to a list."""

    seen: ClassVar[list[Any]] = []

    def __init__(self, what: str) -> None:
        self.what, self.n_levels = what, 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        known = {
            "trainer": trainer,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "anomaly": torch.is_anomaly_enabled(),
            "psnr": float(trainer.callback_metrics["level/psnr_db"]),
        }
        self.n_levels += 1
        Noted.seen.append(known.get(self.what))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.what == "whole run":
            Noted.seen = [self.n_levels, float(trainer.callback_metrics["test/psnr_db"])]


@pytest.fixture
def seen() -> list[Any]:
    Noted.seen = []
    return Noted.seen


def noting(what: str) -> str:
    return f"trainer.callbacks=[{{_target_:{Noted.__module__}.Noted,what:{what}}}]"


def test_callbacks_of_the_trainer_see_the_quality_of_every_level(
    tmp_path: Path, seen: list[Any]
) -> None:
    report = run(tmp_path, noting("psnr"))
    assert seen == pytest.approx([level["psnr_db"] for level in report["levels"]])


def test_a_callback_sees_the_fit_and_the_scores(tmp_path: Path) -> None:
    report = run(tmp_path, noting("whole run"))
    assert Noted.seen == pytest.approx([2, report["psnr_db"]])


@pytest.mark.parametrize(
    ("setting", "what"),
    [("deterministic=true", "deterministic"), ("detect_anomaly=true", "anomaly")],
)
def test_switches_reach_pytorch(tmp_path: Path, seen: list[Any], setting: str, what: str) -> None:
    run(tmp_path, f"trainer.{setting}", noting(what))
    assert seen == [True, True]
    torch.use_deterministic_algorithms(False)


def test_the_profiler_reports_the_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seen: list[Any]
) -> None:
    run(tmp_path, "trainer.profiler=simple", noting("trainer"))
    assert type(seen[0].profiler).__name__ == "SimpleProfiler"
    assert seen[0].default_root_dir == str(tmp_path)
    assert "[LightningModule]MinerModule.on_train_epoch_start" in seen[0].profiler.summary()


def test_fast_dev_run_fits_some_chunks_of_every_level(tmp_path: Path) -> None:
    report = run(tmp_path, "trainer.fast_dev_run=2")
    found = [name.removesuffix(".safetensors") for name in shards(tmp_path)]
    assert found == ["level00-chunk00000", "level00-chunk00001", "level01-chunk00000"]
    assert report["status"] == "finished"
    assert [level["level"] for level in report["levels"]] == [1, 0]


def test_max_time_stops_after_a_chunk_and_the_run_is_resumed(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    report = run(tmp_path / "run", "trainer.max_time={seconds:0.000001}")
    assert report["status"] == "stopped"
    assert report["psnr_db"] > 0
    assert 0 <= len(shards(tmp_path / "run")) < len(shards(tmp_path / "whole"))
    report = run(tmp_path / "run")
    assert report["status"] == "finished"
    assert shards(tmp_path / "run") == shards(tmp_path / "whole")
    assert report["psnr_db"] == whole["psnr_db"]


def test_a_run_without_any_time_is_stopped_before_its_first_level(tmp_path: Path) -> None:
    report = run(tmp_path, "trainer.max_time=00:00:00:00")
    assert (report["status"], report["levels"], report["n_parameters"]) == ("stopped", [], 0)
    assert run(tmp_path)["status"] == "finished"


@pytest.mark.parametrize("name", REFUSED_CALLBACKS)
def test_callbacks_without_meaning_are_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    derived: Any = type("Mine", (getattr(pl.callbacks, name),), {})
    with pytest.raises(ConfigError, match=f"leave out Mine: {REFUSED_CALLBACKS[name][:20]}"):
        make_trainer(compose(tmp_path).trainer, [derived.__new__(derived)])


STOPPING = "trainer.callbacks=[{_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:%s}]"


def test_early_stopping_leaves_a_run_that_can_be_resumed(tmp_path: Path) -> None:
    report = run(tmp_path, STOPPING % "level/psnr_db,mode:max,stopping_threshold:1.0")
    assert (report["status"], len(report["levels"])) == ("stopped", 1)


def test_a_misspelt_metric_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric `psnr` which is not .* `level/psnr_db`$"):
        run(tmp_path, STOPPING % "psnr")
