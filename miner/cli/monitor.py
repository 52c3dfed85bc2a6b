"""A sweep at a glance: jobs done, running and failed, and the time that is left."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from rich import get_console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from miner.support.console import say
from miner.support.run_files import REPORT, read_report

_INTERVAL_S = 0.5


_LINE_INTERVAL_S = 30.0  # between lines where there is no terminal


@dataclass
class JobFolders:
    """The states of a sweep's jobs, read from their folders; what has ended is read once.

    `total` is the number of jobs, None where a search decides it on its way.
    """

    folder: Path
    hashes: Sequence[str] | None
    total: int | None
    began: float = field(default_factory=time.time)
    _ended: dict[str, str] = field(default_factory=dict)

    def count(self) -> Counter[str]:
        """How many jobs are finished, failed and running."""
        states = Counter(self._state(path) for path in self._folders())
        del states["other"]
        return states

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        known = None if self.hashes is None else set(self.hashes)
        children = (path for path in self.folder.iterdir() if "-" in path.name)
        return [p for p in children if known is None or p.name.rpartition("-")[2] in known]

    def _state(self, path: Path) -> str:
        if path.name in self._ended:
            return self._ended[path.name]
        if not (path / REPORT).exists():
            return "running" if self._is_of_now(path / ".hydra" / "config.yaml") else "other"
        state = _status(path)
        if state == "failed" and not self._is_of_now(path / REPORT):
            return "other"  # it failed at an earlier start, and will be run again
        self._ended[path.name] = state
        return state

    def _is_of_now(self, file: Path) -> bool:
        """Whether a job wrote the file since the sweep was started."""
        try:
            return file.stat().st_mtime >= self.began
        except FileNotFoundError:
            return False


class SweepMonitor:
    """Watches a sweep's folder from a thread: a bar in a terminal, else a line now and then."""

    def __init__(self, jobs: JobFolders) -> None:
        """Begin to watch."""
        self._jobs, self._began = jobs, time.monotonic()
        self._before = jobs.count()["finished"]
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show the last state and stop."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        console = get_console()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=self._jobs.total)
            said, said_at = "", self._began
            while True:
                is_last = self._stop.wait(_INTERVAL_S)
                states = self._jobs.count()
                text = self._describe(states)
                bar.update(task, description=text, completed=states["finished"] + states["failed"])
                is_due = time.monotonic() - said_at > _LINE_INTERVAL_S
                if not console.is_terminal and text != said and (is_last or is_due):
                    say(text)
                    said, said_at = text, time.monotonic()
                if is_last:
                    return

    def _describe(self, states: Counter[str]) -> str:
        done = states["finished"]
        of = "" if self._jobs.total is None else f" of {self._jobs.total}"
        parts = [f"{done}{of} jobs done", f"{states['running']} running"]
        if states["failed"]:
            parts.append(f"{states['failed']} failed")
        left = self._seconds_left(states)
        if left is not None:
            parts.append(f"about {_duration(left)} left")
        return ", ".join(parts)

    def _seconds_left(self, states: Counter[str]) -> float | None:
        """From the pace since this start: what was done before took no time."""
        ended = states["finished"] + states["failed"]
        if self._jobs.total is None or ended <= self._before or ended >= self._jobs.total:
            return None
        pace = (time.monotonic() - self._began) / (ended - self._before)
        return pace * (self._jobs.total - ended)


def _status(folder: Path) -> str:
    try:
        report: dict[str, Any] = read_report(folder) or {}
    except ValueError:
        return "failed"
    return "failed" if report.get("status") == "failed" else "finished"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
