"""A run from image to report: read, fit, load what was stored, score it, draw it, log it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, cast

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from miner.config import build_objective, build_settings
from miner.evaluation.evaluate import evaluate
from miner.evaluation.measurements import (
    package_versions,
    peak_memory,
)
from miner.evaluation.scores import Scores
from miner.exchange import Exchange
from miner.identity import job_hash
from miner.images import ReportImage, inspect_image
from miner.jobs import Job
from miner.machine import share_cores, use_available_cores
from miner.reports import write_report
from miner.representation import MinerRepresentation, load
from miner.schema import check_config
from miner.scratch import Scratch
from miner.space import scratch_for, shared_scratch
from miner.training.loggers import Finishes, log_results, takes_sweep
from miner.training.module import PyramidModule
from miner.training.pictures import draw_pictures, draw_thumbnails, logged_pictures
from miner.training.progress import FitProgress
from miner.training.records import CurvePoint, LevelRecord
from miner.training.start import Started, raster, start_fit
from miner.training.together import run_together
from miner.training.trainer import make_trainer, quiet_lightning

_LOG = logging.getLogger("miner")


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
        use_available_cores(job.n_side_by_side)
    loggers: list[Logger] = []
    report: dict[str, Any] = {}
    own = scratch_for(checked, job.folder, job.place)
    with own as scratch, shared_scratch(checked, job.folder, job.place):
        try:
            if job.place.is_first:
                loggers += [_start_logger(one, job) for one in config.logger.values()]
            module = _fit(config, scratch, job, loggers)
            if job.place.is_first:
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


def _fit(
    config: DictConfig, scratch: Scratch, job: Job, loggers: Sequence[Logger]
) -> PyramidModule:
    n_levels = _count_levels(config)

    def start(device: torch.device, ranks: Exchange) -> Started:
        started = start_fit(config, job, scratch, device, ranks)
        sides = "x".join(map(str, reversed(started.source.sides)))
        among = f", {ranks.n_ranks} ranks" if ranks.n_ranks > 1 else ""
        _LOG.info("%s: %s on %s%s", started.source.name, sides, device, among)
        return started

    progress = FitProgress(n_levels, is_shown=job.sweep is None and job.place.is_first)
    module = PyramidModule(start, progress, scratch.clear)
    with quiet_lightning():
        for logger in loggers:
            settled = OmegaConf.to_container(config, resolve=True)
            logger.log_hyperparams(cast(dict[str, Any], settled))
        trainer = make_trainer(n_levels, config.trainer, loggers, job.folder)
        with progress:
            run_together(trainer, module)
    if module.n_taken_up:
        _LOG.info("%d chunks were taken up from an earlier start", module.n_taken_up)
    return module


def _count_levels(config: DictConfig) -> int:
    image = check_config(config).image
    info = inspect_image(image.path, image.max_pixels, image.crop_px)
    settings = build_settings(config)
    return settings.pyramid.levels_for((info.height_px, info.width_px), settings.patch_size)


def _report(
    config: DictConfig,
    module: PyramidModule,
    scratch: Scratch,
    job: Job,
    loggers: Sequence[Logger],
) -> dict[str, Any]:
    """Score what the folder holds and write everything that follows from it."""
    source = module.started.source
    representation = load(module.started.product.folder)
    path = job.folder / "reconstruction.png"
    image = ReportImage(path, source.format, source.sides, scratch)
    evaluation = evaluate(
        representation,
        raster(source),
        lambda tile, values: image.fill(tile, values.numpy()),
        module.started.fitter.device,
    )
    image.save()
    draw_pictures(job.folder, evaluation, representation, module.curve)
    draw_thumbnails(job.folder, evaluation, representation)
    report = _content(representation, evaluation.scores, module, job)
    report["objective"] = build_objective(config).value(report)
    report |= {"hash": job_hash(config), "settings": settings_of(config, job)}
    log_results(loggers, report, lambda: logged_pictures(job.folder, evaluation, representation))
    report["wall_time_s"] = time.time() - job.began
    write_report(job.folder, report)
    return report


def _content(
    representation: MinerRepresentation,
    scores: Scores,
    module: PyramidModule,
    job: Job,
) -> dict[str, Any]:
    source, fitter, product = (
        module.started.source,
        module.started.fitter,
        module.started.product,
    )
    height, width = source.sides
    n_bytes = product.n_bytes
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
        "ranks": module.ranks.n_ranks,
        "threads": torch.get_num_threads(),
        "chunks_taken_up": module.n_taken_up,
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
