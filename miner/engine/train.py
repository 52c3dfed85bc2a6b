"""A run from image to report."""

import logging
import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from miner.config.build import build_objective, build_settings
from miner.config.fingerprint import job_hash
from miner.config.job import Job, finished_psnr_db
from miner.config.schema import check_config
from miner.engine.disk_space import scratch_for, shared_scratch
from miner.engine.evaluation import evaluate
from miner.engine.module import MinerModule
from miner.engine.pictures import draw_pictures, draw_thumbnails, logged_pictures
from miner.engine.ranks import Ranks
from miner.engine.records import CurvePoint, FitProgress, LevelRecord
from miner.engine.setup import FitSetup, image_signal, start_fit
from miner.engine.trainer import make_trainer, quiet_lightning, take_started
from miner.images import ReportImage, inspect_image
from miner.loggers.base import Finishes, log_results, takes_sweep
from miner.metrics.tile_metrics import Scores
from miner.representation import REPRESENTATION_FOLDER, Representation, load
from miner.signals.scratch import Scratch
from miner.startup import share_cores, use_available_cores
from miner.support.communication import Communicator
from miner.support.errors import ConfigError, UserError, error_summary, to_user_error
from miner.support.process import LOCK, lock_folder, package_versions, peak_memory
from miner.support.run_files import read_report, write_report

_LOG = logging.getLogger("miner")


def run_until_all_end(trainer: pl.Trainer, module: MinerModule) -> None:
    """Fit; what one rank raises ends the others.

    Raises:
        ConfigError: the ranks did not meet.
        RankError: another rank has failed or was killed.
        KeyboardInterrupt: where Lightning would leave.
    """
    try:
        trainer.fit(module)
        if isinstance(module.ranks, Ranks):
            module.ranks.close()
    except BaseException as error:
        cause = KeyboardInterrupt() if isinstance(error, SystemExit) else error
        if isinstance(module.ranks, Ranks):
            cause = _end_all(module.ranks, cause, Path(trainer.default_root_dir))
        else:
            cause = _end_unmet(trainer, cause)
        if cause is error:
            raise
        raise cause from None


def _end_unmet(trainer: pl.Trainer, error: BaseException) -> BaseException:
    """End what was started; why the run ends."""
    for process in take_started(trainer):
        process.kill()  # what waits for others in a process group hears nothing else
    if not isinstance(error, dist.DistError):
        return error
    address, port = (os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    return ConfigError(
        f"MASTER_PORT={port}: the processes of this run did not meet at {address} ({error}); set "
        "MASTER_ADDR to the first machine and MASTER_PORT to a port that is free there"
    )


def _end_all(ranks: Ranks, error: BaseException, folder: Path) -> BaseException:
    """Why the run ends, on rank 0; the other ranks are left here."""
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # by which `Ranks` tells of others
    cause = ranks.failure(error)
    if ranks.rank > 0 and isinstance(cause, Exception) and not isinstance(cause, UserError):
        _LOG.error("this rank failed", exc_info=cause)
    ranks.abort(error_summary(cause, folder) if isinstance(cause, Exception) else None)
    signal.signal(signal.SIGTERM, handler)
    return cause


def run_job(config: DictConfig, job: Job) -> dict[str, Any]:
    """Fit, store, score and report one image; gives the content of `report.json`.

    Raises:
        ConfigError: a setting is wrong.
        ImageError: the image cannot be read.
    """
    checked = check_config(config)
    if checked.trainer.strategy == "ddp":
        share_cores(checked.trainer.devices)
    else:
        use_available_cores(job.n_parallel_jobs)
    loggers: list[Logger] = []
    report: dict[str, Any] = {}
    own = scratch_for(checked, job.folder, job.rank)
    with own as scratch, shared_scratch(checked, job.folder, job.rank):
        try:
            if job.rank.is_first:
                loggers += [_start_logger(one, job) for one in config.logger.values()]
            module = _fit(config, scratch, job, loggers)
            if job.rank.is_first:
                report = _report(config, module, scratch, job, loggers)
                _say(report, job)
        finally:
            for logger in loggers:
                if isinstance(logger, Finishes):
                    logger.finish(succeeded=bool(report))
    return report


def _say(report: dict[str, Any], job: Job) -> None:
    _LOG.info(
        "PSNR %.2f dB  SSIM %s  %d parameters (%.3f per pixel)  fit %.1f s, all %.1f s  in %s",
        report["psnr_db"],
        "-" if report["ssim"] is None else f"{report['ssim']:.4f}",
        report["n_parameters"],
        report["parameters_per_pixel"],
        report["fit_time_s"],
        report["wall_time_s"],
        job.folder,
    )


def _start_logger(config: DictConfig, job: Job) -> Logger:
    own = {"sweep": job.sweep} if takes_sweep(get_object(config._target_)) else {}
    logger: Logger = instantiate(config, save_dir=job.folder, **own)
    return logger


def settings_of(config: DictConfig, job: Job) -> dict[str, Any]:
    """The options that were chosen and the configuration they make, for the report."""
    return {"choices": dict(job.choices), "config": OmegaConf.to_container(config, resolve=True)}


def _fit(config: DictConfig, scratch: Scratch, job: Job, loggers: Sequence[Logger]) -> MinerModule:
    n_levels = _count_levels(config)

    def start(device: torch.device, ranks: Communicator) -> FitSetup:
        started = start_fit(config, job, scratch, device, ranks)
        sides = "x".join(map(str, reversed(started.source.sides)))
        among = f", {ranks.world_size} ranks" if ranks.world_size > 1 else ""
        _LOG.info("%s: %s on %s%s", started.source.name, sides, device, among)
        return started

    progress = FitProgress(n_levels, is_shown=job.sweep is None and job.rank.is_first)
    module = MinerModule(start, progress, scratch.clear)
    with quiet_lightning():
        for logger in loggers:
            settled = OmegaConf.to_container(config, resolve=True)
            logger.log_hyperparams(cast(dict[str, Any], settled))
        trainer = make_trainer(n_levels, config.trainer, loggers, job.folder)
        with progress:
            run_until_all_end(trainer, module)
    if module.n_resumed_shards:
        _LOG.info("%d chunks were taken up from an earlier start", module.n_resumed_shards)
    return module


def _count_levels(config: DictConfig) -> int:
    image = check_config(config).image
    info = inspect_image(image.path, image.max_pixels, image.crop_px)
    settings = build_settings(config)
    return settings.pyramid.levels_for((info.height_px, info.width_px), settings.patch_size)


def _report(
    config: DictConfig,
    module: MinerModule,
    scratch: Scratch,
    job: Job,
    loggers: Sequence[Logger],
) -> dict[str, Any]:
    """Score what the folder holds and write everything that follows from it."""
    source = module.started.source
    representation = load(module.started.store.folder)
    path = job.folder / "reconstruction.png"
    image = ReportImage(path, source.format, source.sides, scratch)
    evaluation = evaluate(
        representation,
        image_signal(source),
        lambda tile, values: image.fill(tile, values.numpy()),
        module.started.fitter.device,
    )
    image.save()
    if config.pictures:
        draw_pictures(job.folder, evaluation, representation, module.curve)
        draw_thumbnails(job.folder, evaluation, representation)
    report = _content(representation, evaluation.scores, module, job)
    report["objective"] = build_objective(config).value(report)
    report |= {"hash": job_hash(config), "settings": settings_of(config, job)}
    log_results(
        loggers,
        report,
        lambda: logged_pictures(job.folder, evaluation, representation) if config.pictures else {},
    )
    report["wall_time_s"] = time.time() - job.began
    write_report(job.folder, report)
    return report


def _content(
    representation: Representation,
    scores: Scores,
    module: MinerModule,
    job: Job,
) -> dict[str, Any]:
    source, fitter, store = (
        module.started.source,
        module.started.fitter,
        module.started.store,
    )
    height, width = source.sides
    n_bytes = store.n_bytes
    peaks = [peak_memory(), *module.peaks]  # of the process that holds most
    return {
        "status": "finished",
        "image": source.name,
        "image_sha256": source.sha256,
        "width_px": width,
        "height_px": height,
        "channels": source.n_channels,
        **asdict(scores),
        "n_parameters": representation.n_parameters,
        "parameters_per_pixel": representation.n_parameters / (width * height),
        "file_bytes": n_bytes,
        "bits_per_pixel": 8 * n_bytes / (width * height),
        "wall_time_s": time.time() - job.began,
        "fit_time_s": module.fit_time_s,
        "peak_memory_gib": max(peak.host_gib for peak in peaks),
        "peak_gpu_memory_gib": max(peak.gpu_gib for peak in peaks) or None,
        "device": str(fitter.device),
        "world_size": module.ranks.world_size,
        "threads": torch.get_num_threads(),
        "n_resumed_shards": module.n_resumed_shards,
        "seed": fitter.settings.seed,
        "versions": package_versions(),
        "overrides": list(job.overrides),
        "levels": [_level(record) for record in module.records],
        "curve": _columns(module.curve),
    }


def _columns(curve: Sequence[CurvePoint]) -> dict[str, list[float]]:
    """The curve as one list for each of its axes; PSNR at a level's own resolution."""
    points = [asdict(point) for point in curve]
    return {field.name: [point[field.name] for point in points] for field in fields(CurvePoint)}


def _level(record: LevelRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != "n_fresh"}


def run_alone(config: DictConfig, job: Job) -> dict[str, Any]:
    """Run a job; what it raises is recorded and raised again.

    Raises:
        StorageError: where another error was about the disk.
    """
    try:
        return run_job(config, job)
    except Exception as error:
        told = to_user_error(error, job.folder)
        if job.rank.is_first:
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
    except UserError as error:
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
        if path.name in (".hydra", "run.log", LOCK, REPRESENTATION_FOLDER):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _failure(config: DictConfig, job: Job, error: Exception) -> dict[str, Any]:
    path = str(OmegaConf.select(config, "image.path"))
    return {
        "status": "failed",
        "reason": error_summary(error, job.folder),
        "image": Path(path.rpartition("sample:")[2]).stem,
        "seed": config.seed,
        "overrides": list(job.overrides),
        "settings": settings_of(config, job),
    }
