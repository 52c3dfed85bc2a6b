"""What the processes of a run do once they have met: read the image, agree, begin the folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig

from miner.config import build_settings, device_type
from miner.exchange import Exchange
from miner.fitting.fitter import PyramidFitter, make_spec
from miner.identity import fit_digest, fit_of
from miner.images import SourceImage, open_image
from miner.jobs import Job
from miner.pyramid import RasterRoom, Room, SharedRoom, SourceRaster
from miner.reports import REPORT
from miner.representation import PRODUCT
from miner.schema import ConfigError, check_config
from miner.scratch import Scratch
from miner.space import shared_folder
from miner.training.product import Product


@dataclass(frozen=True)
class Started:
    """An image, the fit of its pyramid, and the folder that the fit goes to."""

    source: SourceImage
    fitter: PyramidFitter
    product: Product


Start = Callable[[torch.device, Exchange], Started]
"""Starts a fit on a device, together with the other ranks."""


def start_fit(
    config: DictConfig, job: Job, scratch: Scratch, device: torch.device, ranks: Exchange
) -> Started:
    """Read the image and build its pyramid; nothing is written before all ranks agree.

    Raises:
        ConfigError: a setting, or ranks that differ.
        ImageError: the image cannot be read.
        OSError: the disk is full.
    """
    checked = check_config(config)
    image = checked.image
    source = open_image(image.path, image.max_pixels, image.crop_px, scratch)
    settings = build_settings(config)
    fit = fit_of(config, source.sha256, device_type(config.trainer.accelerator))
    signal = raster(source)
    spec = make_spec(signal.sides, source.format, settings)
    kernel = settings.kernel.prepare(
        spec.models, settings.readout, settings.steps_at(0), torch.device(fit["device"])
    )
    told: dict[str, Any] = {"overrides": list(job.overrides), "kernel": type(kernel).__name__}
    digest = fit_digest(fit)
    refuse_differences(ranks, told["kernel"], digest)
    product = Product(job.folder / PRODUCT, spec, fit | told, digest, is_keeper=ranks.rank == 0)
    _begin(product, job, ranks)
    settings = replace(settings, kernel=kernel)
    room: Room = RasterRoom(device, scratch)
    if ranks.n_ranks > 1:
        room = SharedRoom(device, shared_folder(checked, job.folder), ranks.rank == 0)
    return Started(source, PyramidFitter(signal, spec, settings, room, ranks), product)


def raster(source: SourceImage) -> SourceRaster:
    """The image as a signal."""
    return SourceRaster(source.read, source.n_channels, source.sides)


def refuse_differences(ranks: Exchange, kernel: str, digest: str) -> None:
    """Refuse ranks that would fit something else, or with other bits; rank 0 says so.

    Raises:
        ConfigError: which rank, and what differs.
    """
    for rank, (its_kernel, its_digest) in enumerate(ranks.gather((kernel, digest))):
        if ranks.rank == 0 and its_kernel != kernel:
            raise ConfigError(
                f"rank {rank} computes with {its_kernel} and rank 0 with {kernel}, with other "
                "bits; use kernel=eager, or machines that are alike"
            )
        if ranks.rank == 0 and its_digest != digest:
            raise ConfigError(
                f"rank {rank} has other settings, another image or another kind of device than "
                "rank 0; start all ranks with the same command"
            )


def _begin(product: Product, job: Job, ranks: Exchange) -> None:
    if ranks.rank == 0:
        (job.folder / REPORT).unlink(missing_ok=True)  # of an earlier start: not finished yet
        product.begin()
    ranks.gather(None)
    product.join()
