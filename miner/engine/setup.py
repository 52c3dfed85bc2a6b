"""What the processes of a run do once they have met: read the image, agree, begin the folder."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig

from miner.config.build import build_settings, device_type
from miner.config.fingerprint import fit_digest, fit_identity
from miner.config.job import Job
from miner.config.schema import check_config
from miner.engine.disk_space import shared_folder
from miner.fitting.pyramid_fit import PyramidFit, make_spec
from miner.images import SourceImage, open_image
from miner.representation import REPRESENTATION_FOLDER
from miner.representation.store import FolderStore
from miner.signals.scratch import Scratch
from miner.signals.signal import SourceSignal
from miner.signals.store import LocalSignalStore, SharedSignalStore, SignalStore
from miner.support.communication import Communicator
from miner.support.errors import ConfigError
from miner.support.run_files import REPORT


@dataclass(frozen=True)
class FitSetup:
    """An image, the fit of its pyramid, and the folder that the fit goes to."""

    source: SourceImage
    fitter: PyramidFit
    store: FolderStore


StartFit = Callable[[torch.device, Communicator], FitSetup]
"""Starts a fit on a device, together with the other ranks."""


def start_fit(
    config: DictConfig, job: Job, scratch: Scratch, device: torch.device, ranks: Communicator
) -> FitSetup:
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
    fit = fit_identity(config, source.sha256, device_type(config.trainer.accelerator))
    signal = image_signal(source)
    spec = make_spec(signal.sides, source.format, settings)
    backend = settings.backend.prepare(
        spec.models, settings.readout, settings.steps_at(0), torch.device(fit["device"])
    )
    told: dict[str, Any] = {"overrides": list(job.overrides), "backend": type(backend).__name__}
    digest = fit_digest(fit)
    refuse_differences(ranks, told["backend"], digest)
    store = FolderStore(
        job.folder / REPRESENTATION_FOLDER, spec, fit | told, digest, is_writer=ranks.rank == 0
    )
    _begin(store, job, ranks)
    settings = replace(settings, backend=backend)
    signal_store: SignalStore = LocalSignalStore(device, scratch)
    if ranks.world_size > 1:
        signal_store = SharedSignalStore(
            device, shared_folder(checked, job.folder), ranks.rank == 0
        )
    return FitSetup(source, PyramidFit(signal, spec, settings, signal_store, ranks), store)


def image_signal(source: SourceImage) -> SourceSignal:
    """The image as a signal."""
    return SourceSignal(source.read, source.n_channels, source.sides)


def refuse_differences(ranks: Communicator, backend: str, digest: str) -> None:
    """Refuse ranks that would fit something else, or with other bits; rank 0 says so.

    Raises:
        ConfigError: which rank, and what differs.
    """
    for rank, (its_backend, its_digest) in enumerate(ranks.gather((backend, digest))):
        if ranks.rank == 0 and its_backend != backend:
            raise ConfigError(
                f"rank {rank} computes with {its_backend} and rank 0 with {backend}, with other "
                "bits; use backend=eager, or machines that are alike"
            )
        if ranks.rank == 0 and its_digest != digest:
            raise ConfigError(
                f"rank {rank} has other settings, another image or another kind of device than "
                "rank 0; start all ranks with the same command"
            )


def _begin(store: FolderStore, job: Job, ranks: Communicator) -> None:
    if ranks.rank == 0:
        (job.folder / REPORT).unlink(missing_ok=True)  # of an earlier start: not finished yet
        store.begin()
    ranks.gather(None)
    store.join()
