"""A sweep's jobs in W&B: filed under the sweep, complete in the summary; read back from disk."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb_files import Record, history_of, of_type, read_wandb, run_of, summary_of

from miner.loggers.wandb import WandbRun, shortened
from miner.support.run_files import SweepInfo

LONG = f"image.path=/photos/{'holiday/' * 20}sunset.png"
REPORT: dict[str, Any] = {
    "status": "finished",
    "psnr_db": 31.5,
    "ssim": None,
    "objective": 30.5,
    "n_parameters": 1234,
    "versions": {"torch": "2.13.0"},
    "levels": [
        {"level": 1, "psnr_db": 20.5, "n_blocks": 2},
        {"level": 0, "psnr_db": 31.5, "n_blocks": 6},
    ],
    "settings": {"seed": 0},
    "curve": [{"step": 1, "psnr_db": 12.0}],
    "overrides": ["pyramid=laplacian"],
    "notes": ["ssim is undefined"],
}
REPRESENTATION_FOLDER = {"manifest.json": b"{}", "level_0/chunk_0.safetensors": b"weights"}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep's job whose logger got a report and a product."""
    folder = tmp_path_factory.mktemp("sweep") / "0-abc"
    for name, content in REPRESENTATION_FOLDER.items():
        path = folder / "representation" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sweep = SweepInfo("quality", ["pyramid=laplacian", LONG])
    logger = WandbRun(folder, tags=["mine", "mine"], log_representation=True, sweep=sweep)
    logger.log_results(REPORT, {})
    logger.finish(succeeded=True)
    return folder


@pytest.fixture(scope="module")
def records(job: Path) -> list[Record]:
    return read_wandb(job)


def test_job_is_filed_under_its_sweep_with_the_overrides_that_differ(
    records: list[Record],
) -> None:
    run = run_of(records)
    assert (run["project"], run["run_group"], run["job_type"]) == ("miner", "quality", "fit")
    assert run["tags"] == ["mine", "pyramid=laplacian", shortened(LONG, 64)]
    assert run["notes"] == f"pyramid=laplacian {LONG}"
    assert run["display_name"].startswith("pyramid=laplacian image.path=/photos/")
    assert len(run["display_name"]) == 128


def test_a_long_tag_which_wandb_refuses_keeps_its_key_and_the_end_of_its_value() -> None:
    with pytest.raises(ValueError, match="between 1 and 64 characters"):
        wandb.Settings(run_tags=[LONG])
    tag = shortened(LONG, 64)
    assert len(tag) == 64
    assert tag.startswith("image.path=/photos/") and tag.endswith("/sunset.png")
    assert shortened("seed=1", 64) == "seed=1"
    assert shortened(64 * "a", 64) == 64 * "a"


def test_summary_holds_all_of_the_report_but_its_configuration_and_curve(
    records: list[Record],
) -> None:
    summary = {k: v for k, v in summary_of(records).items() if not k.startswith("_")}
    plain = ("status", "psnr_db", "ssim", "objective", "n_parameters")
    expected = {key: REPORT[key] for key in plain} | {"versions/torch": "2.13.0"}
    for level in REPORT["levels"]:
        expected |= {f"levels/{level['level']}/{key}": value for key, value in level.items()}
    assert summary == expected
    assert [row["objective"] for row in history_of(records, "objective")] == [30.5]


def test_representation_is_an_artifact_read_from_the_jobs_folder(
    job: Path, records: list[Record]
) -> None:
    (artifact,) = of_type(records, "artifact")
    assert artifact["type"] == "representation"
    assert artifact["name"] == f"representation-{run_of(records)['run_id']}"
    entries = {entry["path"]: entry for entry in artifact["manifest"]["contents"]}
    assert entries.keys() == REPRESENTATION_FOLDER.keys()
    for name, content in REPRESENTATION_FOLDER.items():
        assert Path(entries[name]["local_path"]) == (job / "representation" / name).resolve()
        assert base64.b64decode(entries[name]["digest"]) == hashlib.md5(content).digest()


def test_what_is_configured_goes_before_the_sweep(tmp_path: Path) -> None:
    sweep = SweepInfo("quality", ["seed=1"])
    given = {"group": "mine", "job_type": "trial", "notes": "why", "name": "first"}
    logger = WandbRun(tmp_path, sweep=sweep, label="picture", **given)
    logger.log_results(REPORT, {})
    logger.finish(succeeded=True)
    records = read_wandb(tmp_path)
    run = run_of(records)
    assert (run["run_group"], run["job_type"], run["notes"]) == ("mine", "trial", "why")
    assert (run["tags"], run["display_name"]) == (["seed=1"], "first seed=1")
    assert not of_type(records, "artifact")


@pytest.mark.filterwarnings("ignore:.*config.yaml", "ignore:Exception ignored")  # wandb's own file
def test_run_of_an_agent_stays_in_the_agents_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = tmp_path / "config.yaml"
    chosen.write_text(
        "pyramid:\n  value: laplacian\nseed:\n  value: 3\noptimizer.lr:\n  value: 1\n"
    )
    monkeypatch.setenv("WANDB_SWEEP_ID", "search")
    monkeypatch.setenv("WANDB_RUN_ID", "chosen")
    monkeypatch.setenv("WANDB_PROJECT", "elsewhere")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(chosen))
    wandb.teardown()
    logger = WandbRun(tmp_path, label="picture")
    choices = {"choices": {"pyramid": "laplacian"}}
    given = {"pyramid": {"n_levels": 2}, "seed": 3, "optimizer": {"lr": 1}}
    logger.log_hyperparams(given | choices)
    logger.finish(succeeded=True)
    wandb.teardown()
    records = read_wandb(tmp_path)
    run = run_of(records)
    assert (run["sweep_id"], run["run_id"], run["project"]) == ("search", "chosen", "elsewhere")
    assert "run_group" not in run and "display_name" not in run
    assert run["config"]["update"].items() >= {"pyramid": "laplacian", "seed": 3}.items()
    logged = {"pyramid_settings": {"n_levels": 2}, "optimizer": {"lr": 1}} | choices
    assert {k: v for one in of_type(records, "config") for k, v in one["update"].items()} == logged
    assert "locked" not in capfd.readouterr().err
