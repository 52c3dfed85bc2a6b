"""Sweeps: jobs are identified by their hash, run once and compared, even if some fail."""

import csv
import json
import re
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from acting_loggers import ActingLogger, Raising, Warning, acting
from runs import TINY, Command, Compose, read_report, run_main, save_picture

import miner
from miner.config.job import Job
from miner.engine.train import run_in_sweep

SWEEP = ("-m", "hydra.sweep.dir=sweep")
COMPARISON = {"comparison.html", "comparison.tsv"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over two seeds that has ended."""
    folder = tmp_path_factory.mktemp("swept")
    save_picture(folder / "picture.png")
    assert run_main(folder, *SWEEP, *TINY, "image.path=picture.png", "seed=0,1") == 0
    return folder / "sweep"


@pytest.fixture
def again(tmp_path: Path, swept: Path) -> Path:
    """A copy of that sweep in the folder of this test."""
    return Path(shutil.copytree(swept, tmp_path / "sweep"))


def jobs(sweep: Path) -> dict[str, Path]:
    """Folders of jobs by hash."""
    return {path.name.partition("-")[2]: path for path in sweep.glob("[0-9]*-*")}


def seeds(sweep: Path) -> dict[int, Path]:
    """Folders of the jobs that left a report, by seed."""
    ended = [folder for folder in jobs(sweep).values() if (folder / "report.json").exists()]
    return {read_report(folder)["seed"]: folder for folder in ended}


def planned(sweep: Path) -> list[dict[str, Any]]:
    return json.loads((sweep / "sweep.json").read_text())["jobs"]


def traces(folder: Path) -> tuple[bytes, int]:
    """A report's bytes and the moment it was written."""
    path = folder / "report.json"
    return path.read_bytes(), path.stat().st_mtime_ns


def compared(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "comparison.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def at_seed(seed: int, kind: type[ActingLogger]) -> str:
    """The override that lets a logger act in the job of a seed, before it fits."""
    return acting(kind, value="${seed}", at=seed)


def test_plan_and_folders_have_the_number_and_the_hash_of_each_job(swept: Path) -> None:
    folders, listed = seeds(swept), planned(swept)
    expected = {f"{seed}-{read_report(folder)['hash']}" for seed, folder in folders.items()}
    others = {*COMPARISON, "sweep.json", "multirun.yaml", ".lock", ".miner.json"}
    assert {path.name for path in swept.iterdir()} == expected | others
    assert [job["number"] for job in listed] == sorted(folders) == [0, 1]
    for seed, job in enumerate(listed):
        assert f"seed={seed}" in job["overrides"]
        assert jobs(swept)[job["hash"]] == folders[seed]


def test_job_leaves_what_a_single_run_leaves_and_a_row_of_the_comparison(swept: Path) -> None:
    folders, rows = seeds(swept), compared(swept)
    for folder in folders.values():
        names = {path.name for path in folder.iterdir()}
        assert {".hydra", "report.json", "representation", "run.log"} <= names
        assert miner.load(folder).render().shape == (3, 20, 24)
    assert [(row["run"], row["seed"], row["status"]) for row in rows] == [
        (folder.name, str(seed), "finished") for seed, folder in sorted(folders.items())
    ]
    for row in rows:
        assert float(row["psnr_db"]) == read_report(swept / row["run"])["psnr_db"]


def test_hash_is_that_of_the_command_alone(tmp_path: Path, command: Command, swept: Path) -> None:
    assert command("hydra.run.dir=run", "seed=1").status == 0
    assert read_report(tmp_path / "run")["hash"] == read_report(seeds(swept)[1])["hash"]


@pytest.mark.slow
def test_terminal_shows_progress_and_no_logs_of_jobs(tmp_path: Path, command: Command) -> None:
    outcome = command(*SWEEP, "seed=0,1")
    assert outcome.status == 0
    going_on = "to go on after an interruption: the same command with hydra.sweep.dir=sweep"
    announced = f"sweep of seed (2) = 2 jobs in sweep; {going_on}"
    assert outcome.lines.index(announced) < outcome.lines.index("2 of 2 jobs done, 0 running")
    assert [line for line in outcome.lines if "level " in line or "PSNR" in line] == []
    assert len(outcome.lines) < 10
    for folder in jobs(tmp_path / "sweep").values():
        log = (folder / "run.log").read_text()
        assert "level 1" in log and "PSNR" in log


@pytest.mark.parametrize(
    ("folder", "seed", "progress"),
    [
        ("sweep", "seed=1", "1 of 1 jobs done, 0 running"),
        ("moved", "seed=0,1", "2 of 2 jobs done, 0 running"),
    ],
)
def test_finished_jobs_are_not_run_again(
    tmp_path: Path, again: Path, command: Command, folder: str, seed: str, progress: str
) -> None:
    again = again.rename(tmp_path / folder)
    before = {name: traces(job) for name, job in jobs(again).items()}
    outcome = command("-m", f"hydra.sweep.dir={folder}", seed)
    assert outcome.status == 0
    assert progress in outcome.lines
    assert {name: traces(job) for name, job in jobs(again).items()} == before


@pytest.mark.slow
def test_larger_grid_runs_only_what_is_new(again: Path, command: Command) -> None:
    before = {folder: traces(folder) for folder in jobs(again).values()}
    outcome = command(*SWEEP, "seed=1,0", "pyramid=gaussian,laplacian")
    assert outcome.status == 0
    assert re.search(r"pyramid: laplacian − gaussian = .* dB \(1 image x 2 seeds\)", outcome.output)
    assert {folder: traces(folder) for folder in before} == before
    assert len(jobs(again)) == len(planned(again)) == len(compared(again)) == 4
    numbers = {job["hash"]: job["number"] for job in planned(again)}
    old = [numbers[folder.name.partition("-")[2]] for folder in before]
    assert sorted(old) == [0, 2]  # no longer 0 and 1


def test_failed_job_stops_no_other_and_hides_nothing_and_is_run_again_alone(
    tmp_path: Path, command: Command
) -> None:
    outcome = command(*SWEEP, "seed=0,1,2", at_seed(1, Raising))
    assert outcome.status == 1
    assert "2 of 3 jobs done, 0 running, 1 failed" in outcome.lines
    assert "RuntimeError: out of paper" in outcome.output
    assert "Traceback" not in outcome.output
    folders = seeds(tmp_path / "sweep")
    assert "Traceback" in (folders[1] / "run.log").read_text()
    reports = [read_report(folders[seed]) for seed in (0, 1, 2)]
    assert [report["status"] for report in reports] == ["finished", "failed", "finished"]
    assert reports[1]["reason"] == "RuntimeError: out of paper"
    (row,) = [row for row in compared(tmp_path / "sweep") if row["seed"] == "1"]
    assert (row["status"], row["reason"]) == ("failed", "RuntimeError: out of paper")
    before = {seed: traces(folders[seed]) for seed in (0, 2)}
    outcome = command(*SWEEP, "seed=0,1,2")
    assert outcome.status == 0
    assert "3 of 3 jobs done, 0 running" in outcome.lines
    assert read_report(folders[1])["status"] == "finished"
    assert {seed: traces(folders[seed]) for seed in (0, 2)} == before
    assert len(jobs(tmp_path / "sweep")) == 3


def test_sweep_whose_comparison_cannot_be_written_fails(again: Path, command: Command) -> None:
    (again / "comparison.tsv").unlink()
    (again / "comparison.tsv").mkdir()
    outcome = command(*SWEEP, "seed=0,1")
    assert outcome.status == 1
    assert "comparison.tsv: would be overwritten" in outcome.output


def test_interrupted_job_is_resumed(again: Path, command: Command) -> None:
    folder, other = seeds(again)[0], seeds(again)[1]
    before = traces(other)
    (folder / "report.json").unlink()
    (folder / "representation" / "manifest.json").write_text("torn")
    outcome = command(*SWEEP, "seed=0,1")
    assert outcome.status == 0
    assert "= 2 jobs, 1 of them finished, in sweep; " in outcome.output
    assert read_report(folder)["status"] == "finished"
    assert read_report(folder)["n_resumed_shards"] == 2
    assert miner.load(folder).render().shape == (3, 20, 24)
    assert traces(other) == before


@pytest.mark.slow
def test_warning_in_a_job_goes_to_its_log(tmp_path: Path, command: Command) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        outcome = command(*SWEEP, "seed=0,1", at_seed(1, Warning))
    assert (outcome.status, "odd weather" in outcome.output) == (0, False)
    logs = {seed: (f / "run.log").read_text() for seed, f in seeds(tmp_path / "sweep").items()}
    assert [seed for seed, log in logs.items() if "odd weather" in log] == [1]


@pytest.mark.parametrize("change", ["objective=psnr_at_bits", "callbacks.checkpoint=null"])
def test_job_gives_its_objective_even_when_it_was_done_before(
    tmp_path: Path, tiny_config: Compose, change: str
) -> None:
    config, job = tiny_config(change), Job(tmp_path / "job", (), time.time())
    job.folder.mkdir()
    value = run_in_sweep(config, job)
    before = traces(job.folder)
    report = read_report(job.folder)
    assert value == report["objective"]
    assert (value < report["psnr_db"]) == ("objective" in change)
    assert run_in_sweep(config, job) == value
    assert traces(job.folder) == before


@pytest.mark.parametrize("error", ["builtins.MemoryError", "miner.support.errors.ImageError"])
def test_failing_job_returns_none_and_raises_nothing(
    tmp_path: Path, tiny_config: Compose, error: str
) -> None:
    # Optuna's sweeper counts None as a failed trial; a NaN would end its whole search.
    config = tiny_config(acting(Raising, argument=error))
    job = Job(tmp_path / "job", (), time.time())
    job.folder.mkdir()
    assert run_in_sweep(config, job) is None
    assert read_report(job.folder)["reason"].endswith("out of paper")
