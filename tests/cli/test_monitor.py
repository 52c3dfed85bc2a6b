"""What the monitor counts in a sweep's folder, and what it prints where there is no terminal."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from miner.cli.hydra_callback import SweepMonitor

Make = Callable[..., Path]
FINISHED, FAILED = ({"report_version": 2, "status": status} for status in ("finished", "failed"))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a job's folder as Hydra does, perhaps with a report.

    Files are younger than the start of the sweep, or older.
    """

    def make_job(name: str, report: object = None, age_s: float = -60) -> Path:
        folder = tmp_path / name
        (folder / ".hydra").mkdir(parents=True, exist_ok=True)
        files = [folder / ".hydra" / "config.yaml"]
        files[0].touch()
        if report is not None:
            files.append(folder / "report.json")
            files[1].write_text(report if isinstance(report, str) else json.dumps(report))
        for file in files:
            moment = file.stat().st_mtime - age_s
            os.utime(file, (moment, moment))
        return folder

    return make_job


def test_jobs_are_counted_by_their_state(tmp_path: Path, make: Make) -> None:
    jobs = SweepMonitor(tmp_path, ["aa", "bb", "cc", "dd", "ee", "ff", "gg"], 7)
    make("0-aa", FINISHED)
    make("41-bb", FINISHED)  # the number does not count
    make("2-cc", FAILED)
    make("3-dd")
    make("5-ff", '{"status": "fin')  # unreadable, so it failed
    make("6-gg", age_s=60)  # left unfinished by an earlier start
    (tmp_path / "4-ee").mkdir()
    make("5-of-another-grid", FINISHED)
    (tmp_path / "comparison.html").touch()
    assert jobs.count() == Counter(finished=2, failed=2, running=1)
    assert SweepMonitor(tmp_path, None, None).count() == Counter(finished=3, failed=2, running=1)
    assert SweepMonitor(tmp_path / "none", ["aa"], 1).count() == Counter()


@pytest.mark.parametrize("report", [FINISHED, FAILED])
def test_failure_of_an_earlier_start_is_counted_when_the_job_has_run_again(
    tmp_path: Path, make: Make, report: dict[str, str]
) -> None:
    make("0-aa", FAILED, age_s=60)
    jobs = SweepMonitor(tmp_path, ["aa"], 1)
    assert jobs.count() == Counter()
    make("0-aa", report)
    assert jobs.count() == Counter([report["status"]])


def test_report_of_a_job_that_has_ended_is_read_once(tmp_path: Path, make: Make) -> None:
    folder = make("0-aa", FINISHED)
    jobs = SweepMonitor(tmp_path, ["aa"], 1)
    jobs.count()
    (folder / "report.json").write_text("unreadable")
    assert jobs.count() == Counter(finished=1)


@pytest.mark.parametrize(
    ("hashes", "jobs", "line"),
    [
        (["aa", "bb", "cc"], {"0-aa": FINISHED, "1-bb": None}, "1 of 3 jobs done, 1 running"),
        (["aa", "bb"], {"0-aa": FINISHED, "1-bb": FAILED}, "1 of 2 jobs done, 0 running, 1 failed"),
        (None, {"0-aa": FINISHED}, "1 jobs done, 0 running"),
    ],
)
def test_last_state_is_one_line_without_a_terminal(
    tmp_path: Path,
    make: Make,
    capsys: pytest.CaptureFixture[str],
    hashes: list[str] | None,
    jobs: dict[str, object],
    line: str,
) -> None:
    for name, report in jobs.items():
        make(name, report)
    SweepMonitor(tmp_path, hashes, hashes and len(hashes)).close()
    assert capsys.readouterr().out == line + "\n"
