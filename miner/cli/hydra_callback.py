"""Hydra's callback: what happens before a run, around a sweep and at the start of its jobs."""

import atexit
import logging
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from rich import get_console
from rich.progress import BarColumn, Progress, TimeElapsedColumn

from miner.cli.checks import check_run, exit_on_error
from miner.cli.sweep import announcement, check_sweep, compose_once
from miner.config.job import RankInfo, finished_report, rank_of
from miner.support.process import ConsoleHandler, lock_folder, say
from miner.support.run_files import LOGS, REPORT, SCRATCH, SWEEP, claim, read_report, write_plan

_INTERVAL_S, _LINE_INTERVAL_S = 0.5, 30.0  # with a terminal, and between lines without one


class MinerCallback(Callback):
    """Checks before anything starts; monitors a sweep, and compares its jobs when it has ended."""

    _monitor: "SweepMonitor"

    def __init__(self, left_out: Sequence[str] = ()) -> None:
        """Start without a lock; `left_out` are images that the sweep cannot read."""
        self._lock, self._left_out = ExitStack(), left_out

    def __getstate__(self) -> dict[str, Any]:  # without monitor, for other launchers' processes
        return {"_lock": ExitStack()}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run, and keep others out of its folder, which rank 0 locks."""
        folder, rank = Path(config.hydra.run.dir), rank_of(config)
        with exit_on_error():
            check_run(config)
            if rank.is_first:
                self._lock.enter_context(lock_folder(folder))
            report = finished_report(folder) if (folder / "representation").exists() else None
            if rank.is_first and report is None:
                claim(folder, SCRATCH, *LOGS)
        if report is not None:
            if rank.is_first:
                say(f"{folder}: is finished; nothing to do")
            raise SystemExit(0)
        if not rank.is_first:
            _log_to_rank_file(config, rank)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Let others into the folder."""
        self._lock.close()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of a sweep, write its plan, and monitor it."""
        folder = Path(config.hydra.sweep.dir)
        with exit_on_error():
            compose_once()
            plan = check_sweep(config)
            self._lock.enter_context(lock_folder(folder))
            claim(folder, *SWEEP)
        write_plan(folder, plan)
        n_jobs = len(plan) if plan else OmegaConf.select(config, "hydra.sweeper.n_trials")
        self._monitor = SweepMonitor(folder, {job.hash for job in plan} if plan else None, n_jobs)
        say(announcement(folder, plan, n_jobs, self._monitor.n_done))
        atexit.register(self._interrupted, folder)  # unless Hydra calls `on_multirun_end`

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep a job's messages out of the terminal of its sweep: they go to its `run.log`."""
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            logging.captureWarnings(True)
            root = logging.getLogger()
            root.handlers = [one for one in root.handlers if not isinstance(one, ConsoleHandler)]

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Stop capturing warnings."""
        logging.captureWarnings(False)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the jobs; leave with status 1 if one of them failed or was left out."""
        from miner.loggers.sweep import close_sweep

        atexit.unregister(self._interrupted)
        self._monitor.close()
        with exit_on_error():
            is_done = close_sweep(Path(config.hydra.sweep.dir), config)
        self._lock.close()
        if self._left_out:
            n_images = f"{len(self._left_out)} image{'' if len(self._left_out) == 1 else 's'}"
            say(f"left out {n_images} that cannot be read: {', '.join(self._left_out)}")
        if self._left_out or not is_done:
            raise SystemExit(1)

    def _interrupted(self, folder: Path) -> None:
        self._monitor.close()
        say(f"to go on, start it again with hydra.sweep.dir={folder}")
        say(f"to compare what there is, python -m miner.compare {folder}")


def _log_to_rank_file(config: DictConfig, rank: RankInfo) -> None:
    with read_write(config), open_dict(config):
        config.hydra.output_subdir = None
        handler = OmegaConf.select(config, "hydra.job_logging.handlers.file")
        if handler is not None:
            handler.filename = f"${{hydra.runtime.output_dir}}/{rank.name}.log"
            handler.level, handler.delay = "WARNING", True
            config.hydra.job_logging.root.handlers = ["file"]


class SweepMonitor:
    """Watches a sweep's folder from a thread: a bar in a terminal, else a line now and then.

    `hashes` select the jobs, None all of them; `total` is their number, None if it is unknown.
    """

    def __init__(self, folder: Path, hashes: Collection[str] | None, total: int | None) -> None:
        self._folder, self._hashes, self._total = folder, hashes, total
        self._began, self._stop = time.time(), Event()
        self._ended: dict[str, str] = {}  # whose reports are not read again
        self.n_done = self.count()["finished"]  # by an earlier start
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Show the last state and stop."""
        self._stop.set()
        self._thread.join()

    def count(self) -> Counter[str]:
        """How many jobs are finished, failed and running."""
        running: Counter[str] = Counter()
        for path in self._folder.glob("*-*"):
            is_chosen = self._hashes is None or path.name.rpartition("-")[2] in self._hashes
            state = self._state(path) if is_chosen and path.name not in self._ended else None
            if state in ("finished", "failed"):
                self._ended[path.name] = state
            elif state is not None:
                running[state] += 1
        return Counter(self._ended.values()) + running

    def _state(self, path: Path) -> str | None:
        """None where an earlier start left the job unfinished or failed."""
        try:
            report = read_report(path)
        except ValueError:
            report = {"status": "failed"}
        state = "running" if report is None else str(report.get("status"))
        evidence = path / (".hydra/config.yaml" if report is None else REPORT)
        with suppress(FileNotFoundError):
            if state == "finished" or evidence.stat().st_mtime >= self._began:
                return state
        return None

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
                text += f", {states['failed']} failed" if states["failed"] else ""
                bar.update(task, description=text, completed=states["finished"] + states["failed"])
                if not has_bar and text != said:
                    say(text)
                    said = text
