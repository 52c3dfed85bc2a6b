"""Sweeps in separate processes: stopped, killed, spread by launchers, searched."""

import json
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import joblib
import pytest
from acting_loggers import Raising, acting
from runs import TINY, Command, Outcome, read_report, start_python

import miner

pytestmark = pytest.mark.slow

SEEDS = range(6)
SWEEP = ("-m", "miner.run", "-m", *TINY, "image.path=picture.png", "hydra.sweep.dir=sweep")
_PLUGINS = {"submitit": "hydra_submitit_launcher", "optuna": "hydra_optuna_sweeper"}


@pytest.fixture(autouse=True)
def own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands, not the environment, decide how many threads they use."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def need(extra: str) -> None:
    """Skip, visibly, where a plugin of Hydra is not installed; importing it would warn."""
    if find_spec(f"hydra_plugins.{_PLUGINS[extra]}") is None:
        pytest.skip(f"pip install -e '.[{extra}]'")


def sweep(folder: Path, *overrides: str) -> Outcome:
    return start_python(folder, *SWEEP, *overrides)


def over(seeds: range) -> str:
    return f"seed={','.join(map(str, seeds))}"


def reports(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Every report in a sweep: its bytes and the moment it was written."""
    paths = (folder / "sweep").glob("*/report.json")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def statuses(folder: Path) -> list[str]:
    return sorted(read_report(path.parent)["status"] for path in reports(folder))


def interrupt(folder: Path, number: signal.Signals) -> Outcome:
    """Start a sweep and send it a signal as soon as one of its jobs has ended."""
    log = folder / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *SWEEP, over(SEEDS)],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            for _ in range(6000):
                if reports(folder) or process.poll() is not None:
                    break
                time.sleep(0.02)
            process.send_signal(number)
            status = process.wait(60)
        finally:
            process.kill()
    return Outcome(status, log.read_text())


def check_it_goes_on(folder: Path) -> None:
    """Start an interrupted sweep again: what was done stays, what was not is done."""
    before = reports(folder)
    assert 1 <= len(before) < len(SEEDS)
    outcome = sweep(folder, over(SEEDS))
    assert outcome.status == 0
    assert "6 of 6 jobs done, 0 running" in outcome.lines
    after = reports(folder)
    assert {path: after[path] for path in before} == before
    assert statuses(folder) == 6 * ["finished"]
    for path in after:
        assert miner.load(path.parent).render().shape == (3, 20, 24)


def test_killed_sweep_loses_nothing_that_was_done(tmp_path: Path, picture: Path) -> None:
    assert interrupt(tmp_path, signal.SIGKILL).status == -signal.SIGKILL
    check_it_goes_on(tmp_path)


def test_stopped_sweep_says_how_to_go_on(tmp_path: Path, picture: Path) -> None:
    outcome = interrupt(tmp_path, signal.SIGINT)
    assert outcome.status == 128 + signal.SIGINT
    assert "Traceback" not in outcome.output
    assert "stopped" in outcome.lines
    assert "to go on, start it again with hydra.sweep.dir=sweep" in outcome.lines
    assert "to compare what there is, python -m miner.compare sweep" in outcome.lines
    compared = start_python(tmp_path, "-m", "miner.compare", "sweep")
    assert compared.status == 0 and "not started" in compared.output
    check_it_goes_on(tmp_path)


def check_spread(folder: Path, *launcher: str) -> None:
    """Run six jobs, two at a time; every second one fails."""
    outcome = sweep(folder, over(range(3)), "image.path=picture.png,cut.png", *launcher)
    assert outcome.status == 1
    assert [line for line in outcome.lines if "level " in line or "Traceback" in line] == []
    assert "3 of 6 jobs done, 0 running, 3 failed" in outcome.lines
    assert statuses(folder) == 3 * ["failed"] + 3 * ["finished"]
    found = [read_report(path.parent) for path in reports(folder)]
    threads = {report["threads"] for report in found if report["status"] == "finished"}
    cores = joblib.cpu_count(only_physical_cores=True)
    assert len(threads) == 1 and 1 <= threads.pop() <= max(1, cores // 2)
    planned = json.loads((folder / "sweep" / "sweep.json").read_text())["jobs"]
    expected = {f"{job['number']}-{job['hash']}" for job in planned}
    assert {path.parent.name for path in reports(folder)} == expected
    before = {p: t for p, t in reports(folder).items() if b'"finished"' in t[0]}
    sweep(folder, over(range(3)), *launcher)
    assert {p: t for p, t in reports(folder).items() if p in before} == before


@pytest.fixture
def cut(tmp_path: Path, picture: Path) -> Path:
    """An image whose header is sound and whose pixels are not all there."""
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:300])
    return tmp_path / "cut.png"


def test_joblib_runs_jobs_side_by_side(tmp_path: Path, cut: Path) -> None:
    check_spread(tmp_path, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def test_submitit_runs_no_more_jobs_than_its_bound(tmp_path: Path, cut: Path) -> None:
    need("submitit")
    check_spread(tmp_path, "hydra/launcher=submitit_local", "hydra.sweeper.max_batch_size=2")


@pytest.mark.filterwarnings("ignore")  # Optuna 2 warns of the libraries that it imports
def test_failing_trial_does_not_end_a_search(
    tmp_path: Path, picture: Path, command: Command
) -> None:
    need("optuna")
    failing = {"value": "${encoding.n_frequencies}", "at": 5, "argument": "builtins.MemoryError"}
    fixed = ["optimizer.lr=0.02", "hydra.sweep.dir=sweep"]
    searched = [
        "hparams_search=optuna",
        "encoding.n_frequencies=choice(4,5)",
        "hydra.sweeper.n_trials=6",
    ]
    outcome = command("-m", *fixed, *searched, acting(Raising, **failing))
    assert outcome.status == 1
    assert statuses(tmp_path) == ["failed", "finished"]
    assert "MemoryError: out of paper" in outcome.output
    found = [read_report(path.parent) for path in reports(tmp_path)]
    (best,) = [report["objective"] for report in found if report["status"] == "finished"]
    assert f"best_value: {best}" in (tmp_path / "sweep/optimization_results.yaml").read_text()
    assert f"best: objective {best:.3f} with" in outcome.output


def test_search_samples_between_its_bounds(tmp_path: Path, picture: Path) -> None:
    need("optuna")
    searched = ["hparams_search=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=1"]
    assert sweep(tmp_path, *searched).status == 0
    found = [read_report(path.parent)["settings"]["config"] for path in reports(tmp_path)]
    assert len(found) == 2
    assert len({config["optimizer"]["lr"] for config in found}) == 2
    assert all(0.003 <= config["optimizer"]["lr"] <= 0.1 for config in found)
    assert {config["model"]["width"] for config in found} == {4}  # given, so not searched
