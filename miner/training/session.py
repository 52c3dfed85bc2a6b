"""A run from image to report: read, fit, load what was stored, score it, draw it, log it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any, cast

import torch
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from miner.config import build_objective, build_settings, device_type
from miner.evaluation.evaluate import evaluate
from miner.evaluation.measurements import (
    package_versions,
    peak_gpu_memory_gib,
    peak_memory_gib,
)
from miner.evaluation.scores import Scores
from miner.fitting.fitter import PyramidFitter, make_spec
from miner.identity import fit_digest, fit_of, job_hash
from miner.images import ReportImage, SourceImage, open_image
from miner.jobs import Job
from miner.machine import use_available_cores
from miner.pyramid import SourceRaster
from miner.reports import REPORT, write_report
from miner.representation import PRODUCT, MinerRepresentation, load
from miner.schema import check_config
from miner.scratch import Scratch
from miner.space import scratch_for
from miner.training.loggers import Finishes, log_results, takes_sweep
from miner.training.module import PyramidModule
from miner.training.pictures import draw_pictures, draw_thumbnails, logged_pictures
from miner.training.product import Product
from miner.training.progress import FitProgress
from miner.training.records import CurvePoint, LevelRecord
from miner.training.trainer import make_trainer, quiet_lightning

_LOG = logging.getLogger("miner")


def run_job(config: DictConfig, job: Job) -> dict[str, Any]:
    """Fit, store, score and report one image; gives the content of `report.json`.

    Raises:
        ConfigError: a setting is wrong.
        ImageError: the image cannot be read.
    """
    checked = check_config(config)
    image = checked.image
    use_available_cores(job.n_side_by_side)
    loggers: list[Logger] = []
    report: dict[str, Any] = {}
    with scratch_for(checked, job.folder) as scratch:
        source = open_image(image.path, image.max_pixels, image.crop_px, scratch)
        try:
            loggers += [_start_logger(one, job) for one in config.logger.values()]
            module = _fit(config, source, scratch, job, loggers)
            report = _report(config, source, module, scratch, job, loggers)
        finally:
            for logger in loggers:
                if isinstance(logger, Finishes):
                    logger.finish(succeeded=bool(report))
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
    return report


def _start_logger(config: DictConfig, job: Job) -> Logger:
    own = {"sweep": job.sweep} if takes_sweep(get_object(config._target_)) else {}
    logger: Logger = instantiate(config, save_dir=job.folder, **own)
    return logger


def settings_of(config: DictConfig, job: Job) -> dict[str, Any]:
    """The options that were chosen and the configuration they make, for the report."""
    return {"choices": dict(job.choices), "config": OmegaConf.to_container(config, resolve=True)}


def _fit(
    config: DictConfig, source: SourceImage, scratch: Scratch, job: Job, loggers: Sequence[Logger]
) -> PyramidModule:
    settings = build_settings(config)
    fit = fit_of(config, source.sha256, device_type(config.trainer.accelerator))
    signal = _raster(source)
    spec = make_spec(signal.sides, source.format, settings)
    kernel = settings.kernel.prepare(
        spec.models, settings.readout, settings.steps_at(0), torch.device(fit["device"])
    )
    settings = replace(settings, kernel=kernel)
    told = {"overrides": list(job.overrides), "kernel": type(kernel).__name__}
    product = Product(job.folder / PRODUCT, spec, fit | told, fit_digest(fit))
    (job.folder / REPORT).unlink(missing_ok=True)  # of an earlier start: it is not finished yet
    product.begin()
    progress = FitProgress(spec.n_levels, is_shown=job.sweep is None)
    with quiet_lightning():
        for logger in loggers:
            settled = OmegaConf.to_container(config, resolve=True)
            logger.log_hyperparams(cast(dict[str, Any], settled))
        trainer = make_trainer(spec.n_levels, config.trainer, loggers, job.folder)
        device = trainer.strategy.root_device
        _LOG.info("%s: %s on %s", source.name, "x".join(map(str, reversed(spec.sides))), device)
        fitter = PyramidFitter(signal, spec, settings, device, scratch)
        module = PyramidModule(fitter, product, progress)
        with progress:
            try:
                trainer.fit(module)
            except SystemExit:  # Lightning's answer to Ctrl-C
                raise KeyboardInterrupt from None
    if module.n_taken_up:
        _LOG.info("%d chunks were taken up from an earlier start", module.n_taken_up)
    return module


def _raster(source: SourceImage) -> SourceRaster:
    return SourceRaster(source.read, source.n_channels, source.sides)


def _report(
    config: DictConfig,
    source: SourceImage,
    module: PyramidModule,
    scratch: Scratch,
    job: Job,
    loggers: Sequence[Logger],
) -> dict[str, Any]:
    """Score what the folder holds and write everything that follows from it."""
    representation = load(module.product.folder)
    path = job.folder / "reconstruction.png"
    image = ReportImage(path, source.format, source.sides, scratch)
    evaluation = evaluate(
        representation, _raster(source), lambda tile, values: image.fill(tile, values.numpy())
    )
    image.save()
    draw_pictures(job.folder, evaluation, representation, module.curve)
    draw_thumbnails(job.folder, evaluation, representation)
    report = _content(source, representation, evaluation.scores, module, job)
    report["objective"] = build_objective(config).value(report)
    report |= {"hash": job_hash(config), "settings": settings_of(config, job)}
    log_results(loggers, report, lambda: logged_pictures(job.folder, evaluation, representation))
    report["wall_time_s"] = time.time() - job.began
    write_report(job.folder, report)
    return report


def _content(
    source: SourceImage,
    representation: MinerRepresentation,
    scores: Scores,
    module: PyramidModule,
    job: Job,
) -> dict[str, Any]:
    height, width = source.sides
    n_bytes = module.product.n_bytes
    settings = module.fitter.settings
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
        "peak_memory_gib": peak_memory_gib(),
        "peak_gpu_memory_gib": peak_gpu_memory_gib(),
        "device": str(module.fitter.device),
        "threads": torch.get_num_threads(),
        "chunks_taken_up": module.n_taken_up,
        "seed": settings.seed,
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
