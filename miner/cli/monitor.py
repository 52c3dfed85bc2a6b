"""A sweep's progress: how many of its jobs are done, running and failed."""

import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from rich import get_console
from rich.progress import BarColumn, Progress, TimeElapsedColumn

from miner.support.process import say
from miner.support.run_files import REPORT, read_report

_INTERVAL_S, _LINE_INTERVAL_S = 0.5, 30.0  # with a terminal, and between lines without one


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
    _states: dict[str, str] = field(default_factory=dict)

    def count(self) -> Counter[str]:
        """How many jobs are finished, failed and running."""
        for path in self.folder.glob("*-*"):
            is_chosen = self.hashes is None or path.name.rpartition("-")[2] in self.hashes
            if is_chosen and self._states.get(path.name) not in ("finished", "failed"):
                self._states[path.name] = self._state(path)
        states = Counter(self._states.values())
        del states["other"]
        return states

    def _state(self, path: Path) -> str:
        """Other than a job's states where an earlier start left it unfinished or failed."""
        try:
            report = read_report(path)
        except ValueError:
            report = {"status": "failed"}
        state = "running" if report is None else str(report.get("status"))
        evidence = path / (".hydra/config.yaml" if report is None else REPORT)
        with suppress(FileNotFoundError):
            if state == "finished" or evidence.stat().st_mtime >= self.began:
                return state
        return "other"


class SweepMonitor:
    """Watches a sweep's folder from a thread: a bar in a terminal, else a line now and then."""

    def __init__(self, jobs: JobFolders) -> None:
        """Start the thread."""
        self._jobs, self._stop = jobs, Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show the last state and stop."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        has_bar, total, said = get_console().is_terminal, self._jobs.total, ""
        of = "" if total is None else f" of {total}"
        columns = ("{task.description}", BarColumn(), TimeElapsedColumn())
        with Progress(*columns, disable=not has_bar) as bar:
            task, is_last = bar.add_task("", total=total), False
            while not is_last:
                is_last = self._stop.wait(_INTERVAL_S if has_bar else _LINE_INTERVAL_S)
                states = self._jobs.count()
                text = f"{states['finished']}{of} jobs done, {states['running']} running"
                if states["failed"]:
                    text += f", {states['failed']} failed"
                bar.update(task, description=text, completed=states["finished"] + states["failed"])
                if not has_bar and text != said:
                    say(text)
                    said = text
