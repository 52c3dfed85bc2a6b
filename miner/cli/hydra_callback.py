"""Hydra's callback: what happens before a run, around a sweep and at the start of its jobs."""

import atexit
import logging
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, BaseFileLock
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from miner.cli.checks import check_run, check_sweep, exit_on_error
from miner.cli.monitor import JobFolders, SweepMonitor
from miner.config.job import RankInfo, finished_psnr_db, rank_of
from miner.support.console import ConsoleHandler, say
from miner.support.process import lock_folder
from miner.support.run_files import PLAN, Plan, write_plan


class MinerCallback(Callback):
    """Checks before anything starts; watches a sweep, and compares its jobs when it has ended.

    Hydra calls `on_multirun_end` only when nothing was raised; after an interruption, what can be
    done is said when Python leaves.
    """

    def __init__(self) -> None:
        """Nothing to watch yet."""
        self._overview: SweepMonitor | None = None
        self._lock: AcquireReturnProxy[BaseFileLock] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What goes to the processes of other launchers: they have nothing to watch."""
        return {"_overview": None, "_lock": None}

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run, and keep others out of its folder.

        Of a run's processes the first keeps the folder. Where all start at once, one speaks on each
        machine, where something of its own may be wrong; those that Lightning starts come when the
        first has found nothing, so what they find is news.
        """
        folder, place = Path(config.hydra.run.dir), rank_of(config)
        with exit_on_error(is_heard=place.local == 0 or place.starter is None):
            check_run(config)
            if place.is_first:
                self._lock = lock_folder(folder)
            psnr_db = finished_psnr_db(folder)
        if psnr_db is not None:
            if place.is_first:
                say(f"{folder}: is finished ({psnr_db:.2f} dB); nothing to do")
            raise SystemExit(0)
        if not place.is_first:
            _leave_terminal_and_folder(config, place)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Let others into the folder."""
        self._unlock()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of a sweep, write down what it is to do, and watch it."""
        with exit_on_error():
            plan = check_sweep(config)
            folder = Path(config.hydra.sweep.dir)
            self._lock = lock_folder(folder)
        (folder / PLAN).unlink(missing_ok=True)  # of an earlier start
        if plan is not None:
            write_plan(folder, plan)
        self._overview = SweepMonitor(_watched(config, folder, plan))
        say(f"sweep in {folder}")
        atexit.register(self._interrupted, folder)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave the terminal to the overview: a job's words go to its `run.log`."""
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            logging.captureWarnings(True)
            root = logging.getLogger()
            for handler in list(root.handlers):
                if isinstance(handler, ConsoleHandler):
                    root.removeHandler(handler)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Let warnings go where they went before."""
        logging.captureWarnings(False)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Compare the jobs; leave with status 1 if one of them failed."""
        from miner.loggers.sweep import close_sweep

        self._stop_watching()
        with exit_on_error():
            is_done = close_sweep(Path(config.hydra.sweep.dir), config)
        self._unlock()
        if not is_done:
            raise SystemExit(1)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.lock.release()

    def _stop_watching(self) -> bool:
        if self._overview is None:
            return False
        self._overview.close()
        self._overview = None
        return True

    def _interrupted(self, folder: Path) -> None:
        if self._stop_watching():
            say(f"to go on, start it again with hydra.sweep.dir={folder}")
            say(f"to compare what there is, python -m miner.compare {folder}")


def _leave_terminal_and_folder(config: DictConfig, place: RankInfo) -> None:
    """A further process writes nothing but a log of its own, if it has something to say."""
    with read_write(config), open_dict(config):
        config.hydra.output_subdir = None
        handler = OmegaConf.select(config, "hydra.job_logging.handlers.file")
        if handler is not None:
            handler.filename = f"${{hydra.runtime.output_dir}}/{place.name}.log"
            handler.level, handler.delay = "WARNING", True
            config.hydra.job_logging.root.handlers = ["file"]


def _watched(config: DictConfig, folder: Path, plan: Plan | None) -> JobFolders:
    if plan is None:
        return JobFolders(folder, None, OmegaConf.select(config, "hydra.sweeper.n_trials"))
    return JobFolders(folder, [job.hash for job in plan.jobs], len(plan.jobs))
