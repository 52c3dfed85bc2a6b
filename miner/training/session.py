"""A run from image to report: read, fit, load what was stored, score it, draw it, log it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from miner.config import build_settings
from miner.evaluation.report import (
    folder_bytes,
    package_versions,
    peak_gpu_memory_gib,
    peak_memory_gib,
    write_report,
)
from miner.evaluation.scores import Scores, score
from miner.fitting.fitter import PyramidFitter, make_spec
from miner.images import SourceImage, open_image, write_image
from miner.machine import use_available_cores
from miner.representation import MinerRepresentation, load
from miner.schema import ConfigError, check_config
from miner.training.loggers import TakesResults
from miner.training.module import PyramidModule
from miner.training.pictures import draw_pictures, logged_pictures
from miner.training.progress import FitProgress
from miner.training.records import LevelRecord
from miner.training.trainer import make_trainer, quiet_lightning
from miner.training.wandb_logger import WandbRun

_LOG = logging.getLogger("miner")


@dataclass(frozen=True)
class Job:
    """Where a run's results go, what was asked for, and when it began (`time.time`)."""

    folder: Path
    overrides: Sequence[str]
    began: float


def run_job(config: DictConfig, job: Job) -> dict[str, Any]:
    """Fit, store, score and report one image; gives the content of `report.json`.

    Raises:
        ConfigError: a setting is wrong.
        ImageError: the image cannot be read.
    """
    checked = check_config(config)
    source = open_image(checked.image.path, checked.image.max_pixels)
    loggers: list[Logger] = []
    report: dict[str, Any] = {}
    try:
        loggers += [instantiate(one, save_dir=job.folder) for one in config.logger.values()]
        module = _fit(config, source, job.folder, loggers)
        report = _report(source, module, job, loggers)
    finally:
        for logger in loggers:
            if isinstance(logger, WandbRun):
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


def _fit(
    config: DictConfig, source: SourceImage, folder: Path, loggers: Sequence[Logger]
) -> PyramidModule:
    use_available_cores()
    settings = build_settings(config)
    signal = torch.from_numpy(source.pixels)
    product = folder / "representation"
    if product.exists():
        raise ConfigError(f"{product}: exists already; give every job a folder of its own")
    spec = make_spec(tuple(signal.shape[1:]), source.format, settings)
    for logger in loggers:
        logger.log_hyperparams(cast(dict[str, Any], OmegaConf.to_container(config, resolve=True)))
    progress = FitProgress(spec.n_levels)
    with quiet_lightning():
        trainer = make_trainer(spec.n_levels, config.trainer, loggers, folder)
        device = trainer.strategy.root_device
        fitter = PyramidFitter(signal, spec, settings, device)
        module = PyramidModule(fitter, product, progress)
        _LOG.info("%s: %s on %s", source.name, "x".join(map(str, reversed(spec.sides))), device)
        with progress:
            trainer.fit(module)
    return module


def _report(
    source: SourceImage, module: PyramidModule, job: Job, loggers: Sequence[Logger]
) -> dict[str, Any]:
    """Score what the folder holds and write everything that follows from it."""
    representation = load(module.folder)
    scores, rendered = score(representation, torch.from_numpy(source.pixels))
    write_image(job.folder / "reconstruction.png", rendered.numpy(), source.format)
    draw_pictures(job.folder, source.pixels, representation, rendered.numpy(), scores, module.curve)
    report = _content(source, representation, scores, module, job)
    pictures = logged_pictures(job.folder, representation)
    for logger in loggers:
        if isinstance(logger, TakesResults):
            logger.log_results(report, pictures)
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
    channels, height, width = source.pixels.shape
    n_bytes = folder_bytes(module.folder)
    settings = module.fitter.settings
    return {
        "status": "finished",
        "image": source.name,
        "width_px": width,
        "height_px": height,
        "channels": channels,
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
        "seed": settings.seed,
        "versions": package_versions(),
        "overrides": list(job.overrides),
        "levels": [_level(record) for record in module.records],
    }


def _level(record: LevelRecord) -> dict[str, Any]:
    return {name: value for name, value in asdict(record).items() if name != "n_fresh"}
