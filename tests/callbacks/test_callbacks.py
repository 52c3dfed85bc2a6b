"""Callbacks of a run: each can be left out, exchanged or joined by another."""

import json
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
from in_process import run, shards
from pytorch_lightning.loggers.logger import DummyExperiment, Logger

import miner
from miner.callbacks.base import Callback
from miner.callbacks.pictures import Pictures
from miner.support.errors import ConfigError

FILES = {
    "quality_curve": set(),
    "checkpoint": {"representation"},
    "reconstruction": {"reconstruction.png"},
    "pictures": {"blocks.png", "error.png", "curves.png", "thumbnails"},
    "logger_media": set(),
    "report": {"report.json"},
    "progress": set(),
}
LIGHTNINGS = "pytorch_lightning.callbacks"
ALL = set().union(*FILES.values())


def written(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".hydra", "run.log", ".miner.json"}


@pytest.mark.parametrize("name", FILES)
def test_each_callback_can_be_left_out(tmp_path: Path, name: str) -> None:
    others = [f"callbacks=[{','.join(other for other in FILES if other != name)}]"]
    run(tmp_path, *others)
    missing = {"curves.png"} if name == "quality_curve" else set()
    assert written(tmp_path) == ALL - FILES[name] - missing


def test_without_callbacks_nothing_is_written(tmp_path: Path) -> None:
    report = run(tmp_path, "callbacks=none")
    assert written(tmp_path) == set()
    assert report["psnr_db"] > 0
    assert report["file_bytes"] is None


def test_shards_in_memory_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    scores = [
        {name: run(tmp_path / "run", *changes)[name] for name in ("psnr_db", "n_parameters")}
        for changes in ([], ["callbacks=[report]"])
    ]
    assert scores[0] == scores[1]


def test_a_large_image_is_previewed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written = []
    for folder in ("whole", "preview"):
        limit = ["+callbacks.reconstruction.max_pixels=9"] if folder == "preview" else []
        run(tmp_path / folder, "callbacks=[reconstruction]", *limit)
        written.append(cv2.imread(str(tmp_path / folder / "reconstruction.png")))
    np.testing.assert_array_equal(*written)  # below 2048 pixels a side nothing is reduced
    assert "reconstruction.png is a preview at 1/1 of the size" in caplog.text


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("fitting.in_memory_mib=0", "an image of this size"), ("trainer=ddp", "several processes")],
)
def test_the_checkpoint_is_needed_out_of_core_and_by_several_processes(
    tmp_path: Path, setting: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=f"callbacks.checkpoint=null: {reason} .* leave"):
        run(tmp_path, "callbacks=[report]", setting)


class Listening(Callback):
    """Notes its hooks; the order of all callbacks is noted when all is scored."""

    calls: ClassVar[list[str]] = []

    def on_level_start(self, trainer: Any, module: Any, fit: Any, chunks: Any) -> None:
        self.calls.append(f"level {fit.level}: {len(chunks)} chunks")

    def on_block_steps(self, trainer: Any, module: Any, n_block_steps: int) -> None:
        self.calls.append("steps")

    def on_chunk_end(self, trainer: Any, module: Any, shard: Any) -> None:
        self.calls.append(f"chunk {shard.chunk}")

    def on_level_end(self, trainer: Any, module: Any, result: Any) -> None:
        self.calls.append(f"end of {result.record.level}")

    def on_tile_end(self, trainer: Any, module: Any, tile: Any) -> None:
        self.calls.append(f"tile of {tile.level}")

    def on_scored(self, trainer: pl.Trainer, module: Any) -> None:
        self.calls.append(type(trainer.callbacks[-1]).__name__)
        folder = Path(trainer.default_root_dir)
        self.calls.append("a report" if (folder / "report.json").exists() else "no report")


def test_a_callback_of_a_users_own_gets_all_hooks_and_runs_before_the_report(
    tmp_path: Path,
) -> None:
    Listening.calls = []
    run(tmp_path, f"+callbacks.mine._target_={Listening.__module__}.Listening")
    calls = [call for n, call in enumerate(Listening.calls) if call != "steps" or n == 1]
    assert calls == [
        *("level 1: 1 chunks", "steps", "chunk 0", "tile of 1", "end of 1"),
        *("level 0: 3 chunks", "chunk 0", "chunk 1", "chunk 2", "tile of 0", "end of 0"),
        *("Report", "no report"),
    ]


class Silhouettes(Pictures):
    """Exchanges a callback for another one."""

    def on_scored(self, trainer: pl.Trainer, module: Any) -> None:
        """Draw nothing."""


def test_a_callback_can_be_exchanged(tmp_path: Path) -> None:
    own = f"callbacks.pictures._target_={Silhouettes.__module__}.Silhouettes"
    run(tmp_path, "callbacks=default", own)
    assert written(tmp_path) == ALL - FILES["pictures"]


def test_callbacks_join_a_fit_from_python() -> None:
    Listening.calls = []
    noise = np.random.default_rng(0).random((1, 9, 9), dtype=np.float32)
    settings = {"patch_size": 8, "fitting": {"max_steps": 2}, "backend": "eager"}
    miner.fit(noise, callbacks=[Listening()], **settings)
    assert [call for call in Listening.calls if call != "steps"] == [
        *("level 0: 1 chunks", "chunk 0", "tile of 0", "end of 0"),
        *("Listening", "no report"),
    ]


def test_callbacks_of_a_fit_are_objects() -> None:
    with pytest.raises(ConfigError, match="callbacks: 'none' must be an object"):
        miner.fit(np.zeros((1, 9, 9), np.float32), callbacks="none", backend="eager")


class Foreign(Logger):
    """A logger of another package."""

    metrics: ClassVar[dict[str, float]] = {}
    images: ClassVar[dict[str, tuple[int, ...]]] = {}

    @property
    def name(self) -> str:
        return "foreign"

    @property
    def version(self) -> str:
        return ""

    @property
    def experiment(self) -> Any:
        return DummyExperiment()

    def log_hyperparams(self, params: Any, *given: Any, **named: Any) -> None:
        self.metrics["seed"] = params["seed"]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.metrics.update(metrics)

    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        self.images[key] = images[0].shape


def test_a_foreign_logger_gets_numbers_and_pictures(tmp_path: Path) -> None:
    Foreign.metrics, Foreign.images = {}, {}
    run(tmp_path, "callbacks=default", f"+logger.mine._target_={Foreign.__module__}.Foreign")
    report = json.loads((tmp_path / "report.json").read_text())
    assert Foreign.metrics["report/psnr_db"] == report["psnr_db"]
    assert Foreign.metrics["level/psnr_db"] == report["levels"][-1]["psnr_db"]
    assert Foreign.metrics["seed"] == 0
    assert {"blocks", "error", "reconstruction/level_0", "reconstruction/level_1"} == set(
        Foreign.images
    )


def test_fast_dev_run_has_no_loggers(tmp_path: Path) -> None:
    Foreign.metrics = {}
    foreign = f"+logger.mine._target_={Foreign.__module__}.Foreign"
    run(tmp_path, "trainer.fast_dev_run=true", foreign)
    assert Foreign.metrics == {}
    assert shards(tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "+callbacks.mine._target_=nothing.Here",
            "callbacks.mine._target_=nothing.Here: .*nothing",
        ),
        ("+callbacks.mine._target_=builtins.dict", "must be a subclass of .*Callback"),
        ("trainer.callbacks=[{_target_:nothing.Here}]", r"callbacks\[0\]._target_=nothing"),
        ("+logger.mine._target_=builtins.dict", "logger.mine._target_=.* must be a subclass of"),
        (f"+callbacks.mine._target_={LIGHTNINGS}.EarlyStopping", "'monitor'; is the name right"),
        (f"+callbacks.mine._target_={LIGHTNINGS}.ModelCheckpoint", "would store no network"),
        (f"+callbacks.mine._target_={LIGHTNINGS}.LearningRateMonitor", "no logger"),
    ],
)
def test_what_cannot_be_built_is_refused(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(tmp_path, override)
    assert not shards(tmp_path)


def test_two_progress_bars_are_refused(tmp_path: Path) -> None:
    other = f"+callbacks.mine._target_={LIGHTNINGS}.RichProgressBar"
    with pytest.raises(ConfigError, match="two progress bars; add callbacks"):
        run(tmp_path, "callbacks=[progress,report]", other)
