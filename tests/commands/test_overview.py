"""What the overview counts in a sweep's folder, and what it says where there is no terminal."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from miner.cli.monitor import JobFolders, SweepMonitor

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a job's folder, with Hydra's part of it and perhaps a report."""

    def make_job(name: str, report: str | None = None) -> Path:
        folder = tmp_path / name
        (folder / ".hydra").mkdir(parents=True, exist_ok=True)
        (folder / ".hydra" / "config.yaml").touch()
        age(folder / ".hydra" / "config.yaml", 60)
        if report is not None:
            (folder / "report.json").write_text(report)
        return folder

    return make_job


def status(word: str) -> str:
    return json.dumps({"report_version": 2, "status": word})


def age(path: Path, seconds: float) -> None:
    """Put the moment a file was written before or after now."""
    moment = path.stat().st_mtime + seconds
    os.utime(path, (moment, moment))


def test_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert JobFolders(tmp_path / "none", ["a"], 1).count() == Counter()


def test_jobs_are_counted_by_their_state(tmp_path: Path, make: Make) -> None:
    jobs = JobFolders(tmp_path, ["aa", "bb", "cc", "dd", "ee"], 5)
    make("0-aa", status("finished"))
    make("1-bb", status("finished"))
    age(make("2-cc", status("failed")) / "report.json", 60)
    make("3-dd")
    (tmp_path / "4-ee").mkdir()
    assert jobs.count() == Counter(finished=2, failed=1, running=1)


def test_job_that_was_cut_short_at_an_earlier_start_does_not_run(
    tmp_path: Path, make: Make
) -> None:
    age(make("0-aa") / ".hydra" / "config.yaml", -120)
    assert JobFolders(tmp_path, ["aa"], 1).count() == Counter()


def test_number_of_a_folder_does_not_matter(tmp_path: Path, make: Make) -> None:
    make("41-aa", status("finished"))
    assert JobFolders(tmp_path, ["aa"], 1).count() == Counter(finished=1)


def test_jobs_of_other_grids_are_not_counted(tmp_path: Path, make: Make) -> None:
    make("0-aa", status("finished"))
    make("1-zz", status("finished"))
    (tmp_path / "comparison.html").touch()
    assert JobFolders(tmp_path, ["aa"], 1).count() == Counter(finished=1)


def test_search_counts_every_job(tmp_path: Path, make: Make) -> None:
    make("0-aa", status("finished"))
    make("1-zz", status("finished"))
    assert JobFolders(tmp_path, None, None).count() == Counter(finished=2)


def test_failure_of_an_earlier_start_is_not_counted(tmp_path: Path, make: Make) -> None:
    folder = make("0-aa", status("failed"))
    age(folder / "report.json", -60)
    jobs = JobFolders(tmp_path, ["aa"], 1)
    assert jobs.count() == Counter()
    make("0-aa", status("finished"))
    assert jobs.count() == Counter(finished=1)


def test_job_that_fails_again_is_counted(tmp_path: Path, make: Make) -> None:
    age(make("0-aa", status("failed")) / "report.json", -60)
    jobs = JobFolders(tmp_path, ["aa"], 1)
    assert jobs.count() == Counter()
    age(make("0-aa", status("failed")) / "report.json", 60)
    assert jobs.count() == Counter(failed=1)


def test_unreadable_report_of_this_start_is_a_failure(tmp_path: Path, make: Make) -> None:
    jobs = JobFolders(tmp_path, ["aa", "bb"], 2)
    for name, report in (("0-aa", '{"status": "fin'), ("1-bb", "[1]")):
        age(make(name, report) / "report.json", 60)
    assert jobs.count() == Counter(failed=2)


def test_what_has_ended_is_read_once(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("0-aa", status("finished"))
    jobs = JobFolders(tmp_path, ["aa"], 1)
    jobs.count()
    monkeypatch.setattr("miner.cli.monitor.read_report", None)
    assert jobs.count() == Counter(finished=1)


def said(jobs: JobFolders, capsys: pytest.CaptureFixture[str]) -> list[str]:
    SweepMonitor(jobs).close()
    return capsys.readouterr().out.splitlines()


def test_last_state_is_one_line_without_a_terminal(
    tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = JobFolders(tmp_path, ["aa", "bb", "cc"], 3)
    make("0-aa", status("finished"))
    make("1-bb")
    assert said(jobs, capsys) == ["1 of 3 jobs done, 1 running"]


def test_failures_are_said(tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = JobFolders(tmp_path, ["aa", "bb"], 2)
    make("0-aa", status("finished"))
    age(make("1-bb", status("failed")) / "report.json", 60)
    (line,) = said(jobs, capsys)
    assert line.startswith("1 of 2 jobs done, 0 running, 1 failed")


def test_search_without_an_end_says_no_total(
    tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make("0-aa", status("finished"))
    assert said(JobFolders(tmp_path, None, None), capsys) == ["1 jobs done, 0 running"]


def test_time_left_is_not_told_of_what_was_done_before(
    tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make("0-aa", status("finished"))
    (line,) = said(JobFolders(tmp_path, ["aa", "bb"], 2), capsys)
    assert "left" not in line


def test_time_left_is_told_once_a_job_has_ended(
    tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    overview = SweepMonitor(JobFolders(tmp_path, ["aa", "bb"], 2))
    make("0-aa", status("finished"))
    overview.close()
    assert "left" in capsys.readouterr().out
