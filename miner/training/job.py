"""A job and its record: a failure is told in `report.json` like a success."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.config import build_objective
from miner.jobs import Job
from miner.lock import LOCK, lock_folder
from miner.reports import read_report, write_report
from miner.representation import PRODUCT
from miner.resuming import finished_psnr_db
from miner.training.failures import TOLD, as_told, reason_of
from miner.training.session import run_job, settings_of

_LOG = logging.getLogger("miner")


def run_alone(config: DictConfig, job: Job) -> dict[str, Any]:
    """Run a job; what it raises is recorded and raised again.

    Raises:
        StorageError: where another error was about the disk.
    """
    try:
        return run_job(config, job)
    except Exception as error:
        told = as_told(error, job.folder)
        if job.place.is_first:
            with suppress(OSError):  # the disk may be full
                write_report(job.folder, _failure(config, job, error))
        if told is error:
            raise
        raise told from error


def run_in_sweep(config: DictConfig, job: Job) -> float | None:
    """Run a job unless it is finished already; gives what the sweep's search maximises.

    None for a job that fails: Hydra would give up the other jobs for an exception, and Optuna's
    sweeper the whole search for a NaN.
    """
    try:
        with lock_folder(job.folder):
            report = _finished(job.folder)
            if report is None:
                _clear(job.folder)
                report = run_alone(config, job)
    except TOLD as error:
        _LOG.error("%s", error)
        return None
    except Exception:
        _LOG.exception("the job failed")
        return None
    return build_objective(config).value(report)


def _finished(folder: Path) -> dict[str, Any] | None:
    return None if finished_psnr_db(folder) is None else read_report(folder)


def _clear(folder: Path) -> None:
    """Remove what a job that was cut short or failed left, but for what is still of use."""
    for path in folder.iterdir():
        if path.name in (".hydra", "run.log", LOCK, PRODUCT):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _failure(config: DictConfig, job: Job, error: Exception) -> dict[str, Any]:
    path = str(OmegaConf.select(config, "image.path"))
    return {
        "status": "failed",
        "reason": reason_of(error, job.folder),
        "image": Path(path.rpartition("sample:")[2]).stem,
        "seed": config.seed,
        "overrides": list(job.overrides),
        "settings": settings_of(config, job),
    }
