"""A job and its record: a failure is told in `report.json` like a success."""

import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.config import build_objective
from miner.files import is_disk_full
from miner.fitting.divergence import DivergenceError
from miner.images import ImageError
from miner.images.errors import NoSpaceError
from miner.jobs import Job
from miner.lock import LOCK, lock_folder
from miner.reports import read_report, write_report
from miner.representation import PRODUCT
from miner.schema import ConfigError
from miner.training.session import run_job, settings_of

_LOG = logging.getLogger("miner")


class DiskFullError(RuntimeError):
    """There is no space left; what is finished is kept."""


TOLD = (ConfigError, ImageError, DivergenceError, DiskFullError)
"""Errors that are no faults of ours: their messages say all."""


def run_alone(config: DictConfig, job: Job) -> dict[str, Any]:
    """Run a job; what it raises is recorded and raised again.

    Raises:
        DiskFullError: where another error said so.
    """
    try:
        return run_job(config, job)
    except Exception as error:
        with suppress(OSError):  # the disk may be full
            write_report(job.folder, _failure(config, job, error))
        is_full = isinstance(error, OSError) and is_disk_full(error)
        if is_full or isinstance(error, NoSpaceError):
            place = getattr(error, "filename", None) or job.folder
            raise DiskFullError(
                f"{place}: the disk is full; what is finished is kept: free some space and go on "
                f"with resume={job.folder}"
            ) from error
        raise


def run_in_sweep(config: DictConfig, job: Job) -> float | None:
    """Run a job unless it is finished already; gives what the sweep's search maximises.

    None for a job that fails: Hydra would give up the other jobs for an exception, and Optuna's
    sweeper the whole search for a NaN.
    """
    report = _finished(job.folder)
    if report is None:
        try:
            with lock_folder(job.folder):
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
    try:
        report = read_report(folder)
    except ValueError:
        return None
    return report if report is not None and report.get("status") == "finished" else None


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
    is_told = isinstance(error, TOLD)
    reason = str(error) if is_told else f"{type(error).__name__}: {error}"
    path = str(OmegaConf.select(config, "image.path"))
    return {
        "status": "failed",
        "reason": " ".join(reason.split()),
        "image": Path(path.rpartition("sample:")[2]).stem,
        "seed": config.seed,
        "overrides": list(job.overrides),
        "settings": settings_of(config, job),
    }
