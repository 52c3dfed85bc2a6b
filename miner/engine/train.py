"""A run from image to report."""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from miner.config.build import build_objective, build_settings
from miner.config.fingerprint import job_hash
from miner.config.job import Job, finished_psnr_db
from miner.config.schema import check_config
from miner.engine.disk_space import scratch_for, shared_scratch
from miner.engine.evaluation import draw_pictures, evaluate, logged_pictures
from miner.engine.module import MinerModule
from miner.engine.records import CurvePoint, FitProgress
from miner.engine.trainer import make_trainer, quiet_lightning, run_until_all_end
from miner.images import PixelCanvas, inspect_image
from miner.loggers.base import ResultLogger, log_results, remove_earlier_events, takes_sweep
from miner.representation import REPRESENTATION_FOLDER, Representation, load
from miner.signals.scratch import Scratch
from miner.support.errors import UserError, error_summary, to_user_error
from miner.support.process import (
    LOCK,
    lock_folder,
    package_versions,
    peak_memory,
    share_cores,
    use_available_cores,
)
from miner.support.run_files import read_report, write_report

_LOG = logging.getLogger("miner")
_MAX_REPORT_PIXELS = 2**28  # a larger image is reported as a preview


def run_in_sweep(config: DictConfig, job: Job) -> float | None:
    """Run a job unless it is finished already; gives what the sweep's search maximises.

    None for a job that fails: Hydra would skip the other jobs after an exception, and Optuna's
    sweeper would end the search for a NaN.
    """
    try:
        with lock_folder(job.folder):
            is_finished = finished_psnr_db(job.folder) is not None
            report = read_report(job.folder) if is_finished else None
            if report is None:
                _clear(job.folder)
                report = run_alone(config, job)
    except UserError as error:
        _LOG.error("%s", error)
        return None
    except Exception:  # whatever it is, the other jobs of the sweep are run
        _LOG.exception("the job failed")
        return None
    return build_objective(config).value(report)


def _clear(folder: Path) -> None:
    """Remove what a job that was interrupted or failed has left, but for what is still of use."""
    for path in folder.iterdir():
        if path.name in (".hydra", "run.log", LOCK, REPRESENTATION_FOLDER):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def run_alone(config: DictConfig, job: Job) -> dict[str, Any]:
    """Run a job; what it raises is recorded and raised again, `StorageError` for a full disk."""
    try:
        return run_job(config, job)
    except Exception as error:  # recorded, then raised
        path = str(OmegaConf.select(config, "image.path"))
        report = {
            "status": "failed",
            "reason": error_summary(error, job.folder),
            "image": Path(path.rpartition("sample:")[2]).stem,
            "seed": config.seed,
            **_identity(config, job),
        }
        if job.rank.is_first:
            with suppress(OSError):  # the disk may be full
                write_report(job.folder, report)
        shown = to_user_error(error, job.folder)
        if shown is error:
            raise
        raise shown from error


def _identity(config: DictConfig, job: Job) -> dict[str, Any]:
    resolved = OmegaConf.to_container(config, resolve=True)
    settings = {"choices": dict(job.choices), "config": resolved}
    return {"overrides": list(job.overrides), "settings": settings}


def run_job(config: DictConfig, job: Job) -> dict[str, Any]:
    """Fit, store, score and report one image; gives the content of `report.json`.

    Raises `ConfigError` for a wrong setting and `ImageError` if the image cannot be read.
    """
    checked = check_config(config)
    if checked.trainer.strategy == "ddp":
        share_cores(checked.trainer.devices)
    else:
        use_available_cores(job.n_parallel_jobs)
    with (
        scratch_for(checked, job.folder, job.rank) as scratch,
        shared_scratch(checked, job.folder, job.rank),
        _open_loggers(config, job) as loggers,
    ):
        module = _fit(config, job, scratch, loggers)
        return _finish(module, loggers) if job.rank.is_first else {}


@contextmanager
def _open_loggers(config: DictConfig, job: Job) -> Iterator[list[Logger]]:
    """The loggers of the first rank, closed at the end."""
    loggers: list[Logger] = []
    succeeded = False
    try:
        for settings in config.logger.values() if job.rank.is_first else ():
            more = {"sweep": job.sweep} if takes_sweep(get_object(settings._target_)) else {}
            loggers.append(instantiate(settings, save_dir=job.folder, **more))
            remove_earlier_events(loggers[-1])
        yield loggers
        succeeded = True
    finally:
        for logger in loggers:
            if isinstance(logger, ResultLogger):
                logger.finish(succeeded)


def _fit(config: DictConfig, job: Job, scratch: Scratch, loggers: Sequence[Logger]) -> MinerModule:
    image, settings = check_config(config).image, build_settings(config)
    info = inspect_image(image.path, image.max_pixels, image.crop_px)
    n_levels = settings.pyramid.levels_for((info.height_px, info.width_px), settings.patch_size)
    is_shown = job.sweep is None and job.rank.is_first
    with quiet_lightning(), FitProgress(n_levels, is_shown) as progress:
        module = MinerModule(config, job, scratch, progress)
        resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
        for logger in loggers:
            logger.log_hyperparams(resolved)
        run_until_all_end(make_trainer(n_levels, config.trainer, loggers, job.folder), module)
    if module.n_resumed_shards:
        _LOG.info("%d chunks of an earlier start were kept", module.n_resumed_shards)
    return module


def _finish(module: MinerModule, loggers: Sequence[Logger]) -> dict[str, Any]:
    """Score what the folder holds and write everything that follows from it."""
    folder, has_pictures = module.job.folder, module.config.pictures
    representation, format = load(module.store.folder), module.image.format
    image = PixelCanvas(format, *module.image.sides, module.scratch, max_pixels=_MAX_REPORT_PIXELS)
    evaluation = evaluate(
        representation,
        module.source,
        lambda tile, values: image.fill(tile, values.numpy()),
        module.fitter.device,
    )
    image.save(folder / f"reconstruction{format.suffix}")
    report = _report(module, representation, evaluation.scores)
    if has_pictures:
        draw_pictures(folder, evaluation, representation, report["curve"])
    log_results(
        loggers,
        report,
        lambda: logged_pictures(folder, evaluation, representation) if has_pictures else {},
    )
    report["wall_time_s"] = time.time() - module.job.began
    write_report(folder, report)
    ssim = "-" if report["ssim"] is None else f"{report['ssim']:.4f}"
    _LOG.info(
        "PSNR %(psnr_db).2f dB  SSIM %(ssim)s  %(n_parameters)d parameters "
        "(%(parameters_per_pixel).3f per pixel)  fit %(fit_time_s).1f s, all %(wall_time_s).1f s  "
        "in %(folder)s",
        report | {"ssim": ssim, "folder": folder},
    )
    return report


def _report(
    module: MinerModule, representation: Representation, scores: Mapping[str, Any]
) -> dict[str, Any]:
    image, fitter, n_bytes = module.image, module.fitter, module.store.n_bytes
    height, width = image.sides
    peaks = [peak_memory(), *module.peaks]  # of the process that holds most
    levels = [record._asdict() for record in module.records]
    curve = {name: [getattr(one, name) for one in module.curve] for name in CurvePoint._fields}
    report = {
        "status": "finished",
        "image": image.name,
        "image_sha256": image.sha256,
        "width_px": width,
        "height_px": height,
        "channels": image.n_channels,
        **scores,
        "n_parameters": representation.n_parameters,
        "parameters_per_pixel": representation.n_parameters / (width * height),
        "file_bytes": n_bytes,
        "bits_per_pixel": 8 * n_bytes / (width * height),
        "wall_time_s": time.time() - module.job.began,
        "fit_time_s": module.fit_time_s,
        "peak_memory_gib": max(peak.host_gib for peak in peaks),
        "peak_gpu_memory_gib": max(peak.gpu_gib for peak in peaks) or None,
        "device": str(fitter.device),
        "world_size": module.ranks.world_size,
        "threads": torch.get_num_threads(),
        "n_resumed_shards": module.n_resumed_shards,
        "seed": fitter.settings.seed,
        "versions": package_versions(),
        "levels": [{name: level[name] for name in level if name != "n_fresh"} for level in levels],
        "curve": curve,
        "hash": job_hash(module.config),
        **_identity(module.config, module.job),
    }
    return report | {"objective": build_objective(module.config).value(report)}
