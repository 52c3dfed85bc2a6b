"""A sweep's progress: jobs done, running and failed, and the time that is left."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from rich import get_console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from miner.support.process import say
from miner.support.run_files import REPORT, read_report

_UNITS = (("h", 3600), ("min", 60), ("s", 1))
_INTERVAL_S = 0.5
_LINE_INTERVAL_S = 30.0  # between lines where there is no terminal


@dataclass
class JobFolders:
    """The states of a sweep's jobs, read from their folders; reports are read once.

    `hashes` select the jobs, None all of them; `total` is their number, None where a search decides
    it while it runs.
    """

    folder: Path
    hashes: Collection[str] | None
    total: int | None
    began: float = field(default_factory=time.time)
    _ended: dict[str, str] = field(default_factory=dict)

    def count(self) -> Counter[str]:
        """How many jobs are finished, failed and running."""
        states = Counter(
            self._state(path)
            for path in self.folder.glob("*-*")
            if self.hashes is None or path.name.rpartition("-")[2] in self.hashes
        )
        del states["other"]
        return states

    def _state(self, path: Path) -> str:
        if path.name in self._ended:
            return self._ended[path.name]
        if not (path / REPORT).exists():
            return "running" if self._is_new(path / ".hydra" / "config.yaml") else "other"
        try:
            report = read_report(path) or {}
        except ValueError:
            report = {"status": "failed"}
        state = "failed" if report.get("status") == "failed" else "finished"
        if state == "failed" and not self._is_new(path / REPORT):
            return "other"  # it failed at an earlier start, and will be run again
        self._ended[path.name] = state
        return state

    def _is_new(self, file: Path) -> bool:
        try:
            return file.stat().st_mtime >= self.began
        except FileNotFoundError:
            return False


class SweepMonitor:
    """Watches a sweep's folder from a thread: a bar in a terminal, else a line now and then."""

    def __init__(self, jobs: JobFolders) -> None:
        """Start the thread."""
        self._jobs, self._began = jobs, time.monotonic()
        self._before = jobs.count()["finished"]  # by earlier starts
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
            is_last = False
            while not is_last:
                is_last = self._stop.wait(_INTERVAL_S)
                states = self._jobs.count()
                n_ended = states["finished"] + states["failed"]
                text = self._describe(states, n_ended)
                bar.update(task, description=text, completed=n_ended)
                is_due = is_last or time.monotonic() - said_at > _LINE_INTERVAL_S
                if not console.is_terminal and text != said and is_due:
                    say(text)
                    said, said_at = text, time.monotonic()

    def _describe(self, states: Counter[str], n_ended: int) -> str:
        total = self._jobs.total
        of = "" if total is None else f" of {total}"
        text = f"{states['finished']}{of} jobs done, {states['running']} running"
        if states["failed"]:
            text += f", {states['failed']} failed"
        n_new = n_ended - self._before
        if total is not None and n_new > 0 and n_ended < total:
            seconds = (time.monotonic() - self._began) / n_new * (total - n_ended)
            unit, size = next((u, s) for u, s in _UNITS if seconds >= 1.5 * s or s == 1)
            text += f", about {seconds / size:.{int(unit == 'h')}f} {unit} left"
        return text
