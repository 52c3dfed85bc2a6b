"""A sweep's progress: how many of its jobs are done, running and failed."""

import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from rich import get_console
from rich.progress import BarColumn, Progress, TimeElapsedColumn

from miner.support.process import say
from miner.support.run_files import REPORT, read_report

_INTERVAL_S, _LINE_INTERVAL_S = 0.5, 30.0  # with a terminal, and between lines without one


class SweepMonitor:
    """Watches a sweep's folder from a thread: a bar in a terminal, else a line now and then.

    `hashes` select the jobs, None all of them; `total` is their number, None where a search decides
    it while it runs. A report is read once.
    """

    def __init__(self, folder: Path, hashes: Collection[str] | None, total: int | None) -> None:
        self._folder, self._hashes, self._total = folder, hashes, total
        self._began = time.time()
        self._states: dict[str, str] = {}
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show the last state and stop."""
        self._stop.set()
        self._thread.join()

    def count(self) -> Counter[str]:
        """How many jobs are finished, failed and running."""
        for path in self._folder.glob("*-*"):
            is_chosen = self._hashes is None or path.name.rpartition("-")[2] in self._hashes
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
            if state == "finished" or evidence.stat().st_mtime >= self._began:
                return state
        return "other"

    def _watch(self) -> None:
        has_bar, total, said = get_console().is_terminal, self._total, ""
        of = "" if total is None else f" of {total}"
        columns = ("{task.description}", BarColumn(), TimeElapsedColumn())
        with Progress(*columns, disable=not has_bar) as bar:
            task, is_last = bar.add_task("", total=total), False
            while not is_last:
                is_last = self._stop.wait(_INTERVAL_S if has_bar else _LINE_INTERVAL_S)
                states = self.count()
                text = f"{states['finished']}{of} jobs done, {states['running']} running"
                if states["failed"]:
                    text += f", {states['failed']} failed"
                bar.update(task, description=text, completed=states["finished"] + states["failed"])
                if not has_bar and text != said:
                    say(text)
                    said = text
