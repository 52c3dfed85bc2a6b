"""What the loggers hold afterwards, read back from their files."""

import csv
import platform
import shlex
import subprocess
import time
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import wandb
import yaml
from acting_loggers import Raising, acting
from omegaconf import OmegaConf
from PIL import Image
from runs import ROOT, Command, Fit, before_shards, read_report
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb_files import Record, config_of, history_of, of_type, read_wandb, run_of, summary_of

import miner
import miner.loggers.wandb
from miner.cli.arguments import write_images
from miner.loggers.wandb import WandbRun, start_run
from miner.support.errors import ConfigError
from miner.visual.display import to_display

AXES = ["fit/step", "fit/seconds", "fit/parameters"]


@pytest.fixture(scope="module")
def records(logged_run: Path) -> list[Record]:
    return read_wandb(logged_run)


@pytest.fixture(scope="module")
def events(logged_run: Path) -> EventAccumulator:
    return EventAccumulator(str(logged_run / "tensorboard")).Reload()


@pytest.fixture(scope="module")
def rows(logged_run: Path) -> list[dict[str, str]]:
    with (logged_run / "csv" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_csv_holds_the_curve_over_axes_that_never_fall(
    logged_run: Path, rows: list[dict[str, str]]
) -> None:
    curve = [row for row in rows if row["fit/psnr_db"]]
    assert len(curve) >= 4
    for axis in AXES:
        values = [float(row[axis]) for row in curve]
        assert values == sorted(values)
    report, last = read_report(logged_run), {key: float(curve[-1][key]) for key in AXES}
    assert (last["fit/step"], last["fit/parameters"]) == (9, report["n_parameters"])  # 3 of a refit
    assert [float(row["fit/refit"]) for row in curve] == report["curve"]["refit"]
    assert float(curve[-1]["fit/psnr_db"]) == pytest.approx(report["psnr_db"], abs=0.5)


def test_csv_holds_every_level(logged_run: Path, rows: list[dict[str, str]]) -> None:
    levels = [row for row in rows if row["level/level"]]
    logged = [(float(row["level/level"]), float(row["level/psnr_db"])) for row in levels]
    report = read_report(logged_run)
    assert logged == [(level["level"], level["psnr_db"]) for level in report["levels"]]


def test_tensorboard_holds_curve_levels_report_and_pictures(
    logged_run: Path, events: EventAccumulator
) -> None:
    scalars = set(events.Tags()["scalars"])
    assert {"fit/psnr_db", "level/psnr_db", "report/psnr_db", *AXES} <= scalars
    report = read_report(logged_run)
    assert events.Scalars("report/psnr_db")[0].value == pytest.approx(report["psnr_db"])
    pictures = {"reconstruction/level_0", "reconstruction/level_1", "blocks", "error"}
    assert set(events.Tags()["images"]) == pictures
    (picture,) = events.Images("reconstruction/level_0")
    assert (picture.width, picture.height) == (24, 20)


def test_loggers_hold_the_resolved_configuration_the_options_and_the_origin(
    logged_run: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = OmegaConf.load(logged_run / ".hydra" / "config.yaml")
    composed.paths.output_dir = str(logged_run)
    logged, report = config_of(records), read_report(logged_run)
    added = {name: logged.pop(name) for name in ("choices", "commit", "host", "command")}
    assert logged == OmegaConf.to_container(composed, resolve=True)
    assert added == {"choices": report["settings"]["choices"]} | {
        name: report[name] for name in ("commit", "host", "command")
    }
    assert added["choices"]["pyramid"] == "gaussian"
    assert added["host"] == platform.node()
    words = shlex.split(added["command"])
    assert words[:3] == ["python", "-m", "miner.run"]
    assert "image.path=picture.png" in words  # without quotes
    monkeypatch.chdir(logged_run.parent)
    assert write_images(words[3:]) == report["overrides"]
    for name in ("csv", "tensorboard"):
        stored = yaml.safe_load((logged_run / name / "hparams.yaml").read_text())
        assert stored == logged | added


def test_a_run_knows_the_commit_of_its_source(logged_run: Path) -> None:
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    head = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    commit = read_report(logged_run)["commit"]
    assert (commit or "").removesuffix("-dirty") == (head if (ROOT / ".git").exists() else "")


def test_a_single_run_is_named_after_image_and_recipe_and_has_what_is_set(
    tmp_path: Path, command: Command, records: list[Record]
) -> None:
    assert run_of(records)["display_name"] == "picture"
    given = ("logger.wandb.entity=team", "logger.wandb.notes=why", "hydra.run.dir=run")
    assert command("experiment=fast", "logger=wandb", *given).status == 0
    logged = read_wandb(tmp_path / "run")
    run = run_of(logged)
    assert (run["display_name"], run["entity"], run["notes"]) == ("picture fast", "team", "why")
    assert config_of(logged)["choices"]["experiment"] == "fast"


def test_wandb_curves_have_different_axes(records: list[Record]) -> None:
    axes = {
        metric.get("name", metric.get("glob_name")): metric.get("step_metric")
        for metric in of_type(records, "metric")
    }
    assert axes["fit/psnr_db"] == "fit/step"
    assert axes["fit/psnr_db_by_seconds"] == "fit/seconds"
    assert axes["fit/psnr_db_by_parameters"] == "fit/parameters"
    assert axes["level/*"] == "level/level"


def test_wandb_holds_the_same_curve_as_csv(
    rows: list[dict[str, str]], records: list[Record]
) -> None:
    keys = ["fit/psnr_db", *AXES]
    logged = [[row[key] for key in keys] for row in history_of(records, "fit/psnr_db")]
    expected = [[float(row[key]) for key in keys] for row in rows if row["fit/psnr_db"]]
    np.testing.assert_allclose(logged, expected)


def test_wandb_holds_every_level(logged_run: Path, records: list[Record]) -> None:
    logged = history_of(records, "level/level")
    keys = ["level", "n_blocks", "n_active", "n_converged", "n_parameters", "psnr_db"]
    report = read_report(logged_run)
    expected = [{f"level/{key}": level[key] for key in keys} for level in report["levels"]]
    assert [{key: row[key] for key in expected[0]} for row in logged] == expected


def logged_picture(folder: Path, records: list[Record], key: str) -> Image.Image:
    (row,) = history_of(records, f"{key}.path")
    (files,) = folder.glob("wandb/offline-run-*/files")
    return Image.open(files / row[f"{key}.path"])


@pytest.mark.parametrize("level", [0, 1])
def test_wandb_picture_shows_the_reconstruction(
    logged_run: Path, records: list[Record], level: int
) -> None:
    shown = np.asarray(logged_picture(logged_run, records, f"reconstruction/level_{level}"))
    assert np.array_equal(shown, to_display(miner.load(logged_run).render(level)))
    assert shown.mean() > 50


@pytest.mark.parametrize("name", ["blocks", "error"])
def test_wandb_picture_is_the_one_in_the_folder(
    logged_run: Path, records: list[Record], name: str
) -> None:
    drawn = Image.open(logged_run / f"{name}.png").convert("RGB")
    shown = logged_picture(logged_run, records, name).convert("RGB")
    assert np.array_equal(np.asarray(shown), np.asarray(drawn))


def test_wandb_run_ends_well_with_the_report_in_its_summary(
    logged_run: Path, records: list[Record]
) -> None:
    summary, report = summary_of(records), read_report(logged_run)
    keys = ["status", "psnr_db", "ssim", "n_parameters", "bits_per_pixel", "fit_time_s", "seed"]
    assert {key: summary[key] for key in keys} == {key: report[key] for key in keys}
    levels = {level["level"]: level["psnr_db"] for level in report["levels"]}
    assert levels == {level: summary[f"levels/{level}/psnr_db"] for level in levels}
    assert of_type(records, "exit")[-1].get("exit_code", 0) == 0


def test_sweep_gives_every_job_another_run(tmp_path: Path, command: Command) -> None:
    name = "logger.wandb.name=try"
    outcome = command("-m", "seed=3,4", "logger=wandb", name, "hydra.sweep.dir=sweep")
    assert outcome.status == 0
    jobs = sorted((tmp_path / "sweep").glob("[01]-*"))
    runs = [read_wandb(job) for job in jobs]
    assert len({of_type(run, "run")[0]["run_id"] for run in runs}) == 2
    assert [config_of(run)["seed"] for run in runs] == [3, 4]
    for run, seed in zip(runs, (3, 4), strict=True):
        config = config_of(run)
        assert run_of(run)["display_name"] == f"try seed={seed}"
        assert config["choices"]["pyramid"] == "gaussian"
        assert f" seed={seed}" in config["command"]
        assert {"commit", "host"} <= config.keys()
    assert [run_of(run)["tags"] for run in runs] == [["seed=3"], ["seed=4"]]
    assert [run_of(run)["run_group"] for run in runs] == ["sweep", "sweep"]


def test_failed_job_leaves_a_failed_run_and_no_open_one(tmp_path: Path, fit: Fit) -> None:
    with pytest.raises(MemoryError):
        fit("logger=wandb", acting(Raising, argument="builtins.MemoryError"))
    assert wandb.run is None
    assert of_type(read_wandb(tmp_path / "run"), "exit")[-1]["exit_code"] == 1


@pytest.fixture
def may_start(monkeypatch: pytest.MonkeyPatch) -> Event:
    """W&B starts no run before this is set."""
    event = Event()

    def start_late(*arguments: Any, **more: Any) -> wandb.Run:
        assert event.wait(60)
        return start_run(*arguments, **more)

    monkeypatch.setattr(miner.loggers.wandb, "start_run", start_late)
    return event


def test_what_is_logged_before_wandb_has_started_comes_first_and_in_order(
    tmp_path: Path, may_start: Event
) -> None:
    logger = WandbRun(tmp_path)
    logger.log_hyperparams({"seed": 3})
    for step in range(20):
        logger.log_metrics({"level/level": step}, step)
    of_another = logger.experiment
    may_start.set()
    of_another.log({"of_another": 20})
    logger.log_metrics({"level/level": 21})
    assert logger.version == logger.experiment.id
    logger.finish(succeeded=True)
    records = read_wandb(tmp_path)
    rows = [record["item"] for record in of_type(records, "history")]
    assert [row.get("level/level", row.get("of_another")) for row in rows] == [*range(22)]
    assert config_of(records) == {"seed": 3}


def test_the_first_level_is_stored_before_wandb_has_started_and_an_interrupted_run_ends(
    tmp_path: Path, fit: Fit, may_start: Event
) -> None:
    def interrupt(n_before: int, path: Path) -> None:
        if n_before == 1:
            may_start.set()
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stored = before_shards(patch, interrupt)
        fit("logger=wandb")
    assert len(stored) == 1
    assert wandb.run is None
    records = read_wandb(tmp_path / "run")
    assert len(history_of(records, "level/level")) == 1
    assert of_type(records, "exit")[-1]["exit_code"] == 1


def test_setting_that_wandb_refuses_fails_the_run(
    tmp_path: Path, command: Command, may_start: Event
) -> None:
    may_start.set()
    wrong = "logger.wandb.project=a/b"
    outcome = command("logger=wandb", wrong, "hydra.run.dir=run")
    assert outcome.status == 1
    assert "logger.wandb: Invalid project name 'a/b'" in outcome.lines[-1]
    assert "Traceback" not in outcome.output
    assert read_report(tmp_path / "run")["status"] == "failed"


def test_what_has_failed_in_the_thread_is_raised_at_the_latest_by_finish(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Invalid project name 'a/b'"):
        WandbRun(tmp_path, project="a/b").finish(succeeded=True)
    logger = WandbRun(tmp_path, project="a/b")
    with pytest.raises(ConfigError, match="Invalid project name 'a/b'"):
        _ = logger.version
    logger.finish(succeeded=False)  # another failure is on its way
    assert wandb.run is None


class Unclosable:
    """A run of W&B that cannot be closed."""

    def define_metric(self, *names: str, **settings: Any) -> None: ...

    def finish(self, exit_code: int) -> None:
        raise OSError("the disk is full")


def test_what_wandb_raises_at_the_end_is_raised_unless_the_run_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(miner.loggers.wandb, "start_run", lambda *args, **named: Unclosable())
    with pytest.raises(OSError, match="full"):
        WandbRun(tmp_path).finish(succeeded=True)
    WandbRun(tmp_path).finish(succeeded=False)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ["no W&B account", "wandb login"]),
        pytest.param(
            {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": 40 * "0"},
            ["cannot be reached"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_without_account_or_network_a_run_stays_offline(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    words: list[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    wandb.teardown()
    began = time.monotonic()
    logger = WandbRun(tmp_path, offline=False, init_timeout_s=0.5)
    assert logger.experiment.offline
    logger.finish(succeeded=True)
    wandb.teardown()
    assert time.monotonic() - began < 30
    assert read_wandb(tmp_path)
    (message,) = [record.getMessage() for record in caplog.records if record.name == "miner"]
    assert [word for word in words if word not in message] == []
