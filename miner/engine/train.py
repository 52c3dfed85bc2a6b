"""A run from image to report."""

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from miner.config.build import build_component, build_objective, files_of, sources_of
from miner.config.fingerprint import job_hash
from miner.config.job import Job, finished_report
from miner.config.schema import check_config
from miner.engine.disk_space import scratch_for, shared_folder
from miner.engine.method import build_method, configured
from miner.engine.records import build_report
from miner.engine.trainer import fit_on_all_ranks, make_callbacks, make_trainer, quiet_lightning
from miner.signals.scratch import Scratch
from miner.support.components import find_class
from miner.support.errors import UserError, error_summary, to_user_error
from miner.support.process import lock_folder, use_available_cores
from miner.support.run_files import REPORT, SCRATCH, check_own, claim, write_report

_LOG = logging.getLogger("miner")


def run_in_sweep(config: DictConfig, job: Job) -> float | None:
    """Run a job unless it is finished already; gives what the sweep's search maximises.

    None for a job that fails: Hydra would skip the other jobs after an exception, and Optuna's
    sweeper would end the search for a NaN.
    """
    try:
        with lock_folder(job.folder):
            report = finished_report(job.folder)
            if report is None:
                check_own(job.folder, files_of(config), sources_of(config))
                claim(job.folder, SCRATCH)
                (job.folder / REPORT).unlink(missing_ok=True)  # the rest is resumed or replaced
                report = run_alone(config, job)
                if not (job.folder / REPORT).exists():  # by which a sweep knows its jobs
                    write_report(job.folder, report)
    except Exception as error:  # whatever it is, the other jobs of the sweep are run
        _LOG.error("%s", error, exc_info=not isinstance(error, UserError))
        return None
    return build_objective(config).value(report)


def run_alone(config: DictConfig, job: Job) -> dict[str, Any]:
    """Run a job; what it raises is recorded and raised again, `RunError` for a full disk."""
    try:
        return run_job(config, job)
    except Exception as error:  # recorded, then raised
        report = {
            "status": "failed",
            "reason": error_summary(error, job.folder),
            "image": _image_name(config),
            "seed": config.seed,
            **_identity(config, job),
        }
        if job.rank.is_first:
            with suppress(OSError, UserError):  # the disk may be full
                write_report(job.folder, report)
        shown = to_user_error(error, job.folder)
        if shown is error:
            raise
        raise shown from error


def _identity(config: DictConfig, job: Job) -> dict[str, Any]:
    resolved = OmegaConf.to_container(config, resolve=True)
    settings = {"choices": dict(job.choices), "config": resolved}
    return {"overrides": list(job.overrides), "settings": settings, **job.origin}


def _image_name(config: DictConfig) -> str:
    return Path(str(OmegaConf.select(config, "image.path")).rpartition("sample:")[2]).stem


def run_job(config: DictConfig, job: Job) -> dict[str, Any]:
    """Fit, store, score and report one image; gives the content of `report.json`.

    Raises `ConfigError` for a wrong setting and `ImageError` if the image cannot be read.
    """
    digest, config = job_hash(config), configured(config).copy()
    config.paths.output_dir = str(job.folder)
    checked, method = check_config(config), build_method(config)
    n_ranks = 1 if job.rank.launcher == "Slurm" else checked.trainer.devices  # it grants cores
    use_available_cores(n_ranks * job.n_parallel_jobs)
    clears_shared = checked.trainer.is_ddp and job.rank.is_first
    with (
        scratch_for(checked, job.folder, job.rank) as scratch,
        Scratch(shared_folder(checked, job.folder).parent if clears_shared else None),
        quiet_lightning(),
        _open_loggers(config, job) as loggers,
    ):
        data, module = method.build(config, job, scratch)
        module.extra |= {"hash": digest, **_identity(config, job)}
        of_trainer = config.trainer.copy()
        if job.sweep is not None:  # whose monitor has the terminal
            of_trainer.enable_progress_bar = False
        fit_on_all_ranks(make_trainer(of_trainer, make_callbacks(config), loggers), module, data)
        if module.n_resumed_shards:
            _LOG.info("chunks kept of an earlier start: %d", module.n_resumed_shards)
        return build_report(module) if job.rank.is_first else {}


@contextmanager
def _open_loggers(config: DictConfig, job: Job) -> Iterator[list[Logger]]:
    """The loggers of the first rank, closed at the end; each gets settings, options and origin."""
    loggers: list[Logger] = []
    resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    logged = resolved | {"choices": dict(job.choices)} | job.origin
    label = " ".join([_image_name(config), *filter(None, [job.choices.get("experiment")])])
    of_run = {"save_dir": str(job.folder), "sweep": job.sweep, "label": label}
    succeeded = False
    try:
        is_logged = job.rank.is_first and not config.trainer.fast_dev_run
        for name, settings in config.logger.items() if is_logged else ():
            found = find_class(settings)
            is_logger = isinstance(found, type) and issubclass(found, Logger)
            taken = inspect.signature(found).parameters.keys() if is_logger else set()
            more = {key: of_run[key] for key in of_run.keys() & taken - settings.keys()}
            logger = build_component(f"logger.{name}", Logger, config, **more)
            loggers.append(logger)
            if isinstance(logger, TensorBoardLogger):  # an earlier start's curve comes anew
                for events in Path(logger.log_dir).glob("events.out.tfevents.*"):
                    events.unlink()
            logger.log_hyperparams(logged)
        yield loggers
        succeeded = True
    finally:
        for logger in loggers:
            if hasattr(logger, "log_results") and hasattr(logger, "finish"):
                logger.finish(succeeded)
