"""One `Trainer.fit` is one run, an epoch is a level: one step fits a rank's share of its chunks.

Optimisation is manual and nothing is synchronised; the state is the `representation/` folder.
"""

import logging
import signal
import time
from dataclasses import replace

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig

from miner.config.build import build_settings, device_type
from miner.config.fingerprint import fit_digest, fit_identity
from miner.config.job import Job
from miner.config.schema import check_config
from miner.engine.disk_space import shared_folder
from miner.engine.ranks import Ranks, release_started
from miner.engine.records import CurvePoint, FitProgress, LevelRecord, level_curve, record_level
from miner.fitting.pyramid_fit import PyramidFit, make_spec
from miner.images import open_image
from miner.representation import REPRESENTATION_FOLDER
from miner.representation.store import FolderStore
from miner.signals.scratch import Scratch
from miner.signals.signal import SourceSignal
from miner.signals.store import LocalSignalStore, SharedSignalStore, SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator, partition
from miner.support.errors import ConfigError
from miner.support.process import PeakMemory, peak_memory
from miner.support.run_files import REPORT

_LOG = logging.getLogger("miner")


class MinerModule(pl.LightningModule):
    """Fits the levels of a pyramid and writes each chunk as it is finished.

    Chunks of an earlier start are resumed as they are, and their seconds count.
    """

    def __init__(
        self, config: DictConfig, job: Job, scratch: Scratch, progress: FitProgress
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config, self.job, self.scratch = config, job, scratch
        self.ranks: Communicator = SINGLE_PROCESS
        self.records: list[LevelRecord] = []
        self.curve: list[CurvePoint] = []
        self.fit_time_s = 0.0
        self.n_resumed_shards = 0
        self.peaks: list[PeakMemory] = []
        self._progress = progress
        self._earlier_s = 0.0  # spent by earlier starts on what was resumed
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def setup(self, stage: str) -> None:
        """Read the image and build its pyramid; nothing is written before all ranks agree.

        Raises `ImageError`, `OSError` for a full disk, and `ConfigError`, also if ranks differ.
        """
        device, folder = self.trainer.strategy.root_device, self.job.folder
        if self.trainer.world_size > 1:
            self.ranks = Ranks(folder, release_started(self.trainer), self.scratch.clear)
        ranks, is_first = self.ranks, self.ranks.rank == 0
        checked = check_config(self.config)
        named = checked.image
        self.image = image = open_image(named.path, named.max_pixels, named.crop_px, self.scratch)
        self.source = SourceSignal(image.read, image.n_channels, image.sides)
        settings = build_settings(self.config)
        spec = make_spec(image.sides, image.format, settings)
        fit = fit_identity(self.config, image.sha256, device_type(checked.trainer.accelerator))
        backend = settings.backend.prepare(
            spec.models, settings.readout, settings.steps_at(0), torch.device(fit["device"])
        )
        fit |= {"overrides": list(self.job.overrides), "backend": type(backend).__name__}
        digest = fit_digest(fit)
        refuse_differences(ranks, fit["backend"], digest)
        self.store = FolderStore(folder / REPRESENTATION_FOLDER, spec, fit, digest, is_first)
        if is_first:
            (folder / REPORT).unlink(missing_ok=True)  # of an earlier start: not finished yet
            self.store.begin()
        ranks.gather(None)
        self.store.join()
        signals: SignalStore = LocalSignalStore(device, self.scratch)
        if ranks.world_size > 1:
            signals = SharedSignalStore(device, shared_folder(checked, folder), is_first)
        settings = replace(settings, backend=backend)
        self.fitter = PyramidFit(self.source, spec, settings, signals, ranks)
        size = "x".join(map(str, reversed(image.sides)))
        among = f", {ranks.world_size} ranks" if ranks.world_size > 1 else ""
        _LOG.info("%s: %s on %s%s", image.name, size, device, among)
        self._start = time.perf_counter()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """None for Lightning: there is one for each sub-batch of blocks."""
        return []

    def on_train_epoch_start(self) -> None:
        """Start the epoch's level and partition its unfinished chunks."""
        if self.ranks.world_size > 1:  # Lightning's handler waits for ranks, maybe in mid-level
            signal.signal(signal.SIGTERM, self._on_sigterm)
        level = self.fitter.spec.n_levels - 1 - self.trainer.current_epoch
        self._level_start_s = self._seconds
        fit = self._level = self.fitter.start_level(level)
        missing = self.store.start_level(level, fit.chunks)
        self.n_resumed_shards += len(self.store.shards)
        for shard in self.store.shards:  # as if it had been fitted by as many ranks
            self._earlier_s += shard.stats.seconds / self.ranks.world_size
        missing = self.ranks.gather(missing)[0]  # as rank 0 has found it: the folder is changing
        loads = [len(fit.chunks[chunk]) for chunk in missing]
        share = partition(loads, self.ranks.world_size)[self.ranks.rank]
        self._progress.start_level(level, sum(loads[item] for item in share) * fit.n_steps)
        self._chunks = [missing[item] for item in share]

    def training_step(self, batch: int, batch_idx: int) -> None:
        """Fit chunks of the level one after another, and wait for the other ranks."""
        for done, chunk in enumerate(self._chunks):
            self._progress.start_chunk(done, len(self._chunks))
            self.store.add(self._level.fit_chunk(chunk, self._progress.advance_blocks))
        for shard_headers in self.ranks.gather(self.store.shard_headers()):
            self.store.add_remote(shard_headers)
        self.fit_time_s = self._seconds

    def validation_step(self, batch: int, batch_idx: int) -> None:
        """Render the level from what was stored, score it and log its curve."""
        fit, shards = self._level, self.store.shards
        self.store.finish_level()
        sse = self.fitter.finish_level(fit, shards)
        if fit.level == 0:
            self.peaks = self.ranks.gather(peak_memory())
            if isinstance(self.ranks, Ranks):
                self.ranks.detach()
        record = record_level(fit, shards, sse, self._seconds - self._level_start_s)
        points = level_curve(fit, shards, record, self.curve, self._level_start_s)
        self.records.append(record)
        self.curve += points
        if self.ranks.rank == 0:
            self._progress.finish_level(record)
        for logger in self.loggers:  # Lightning's count of steps stays 0
            for point in points:
                values = {f"fit/{name}": float(value) for name, value in point._asdict().items()}
                del values["fit/level"]
                logger.log_metrics(values, step=point.step)
            values = {f"level/{name}": float(value) for name, value in record._asdict().items()}
            logger.log_metrics(values, step=points[-1].step)

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._start + self._earlier_s


def refuse_differences(ranks: Communicator, backend: str, digest: str) -> None:
    """Rank 0 raises `ConfigError` if another would fit something else, or with other bits."""
    for rank, (its_backend, its_digest) in enumerate(ranks.gather((backend, digest))):
        if ranks.rank > 0:
            return
        if its_backend != backend:
            raise ConfigError(
                f"rank {rank} computes with {its_backend} and rank 0 with {backend}, with other "
                "bits; use backend=eager, or machines that are alike"
            )
        if its_digest != digest:
            raise ConfigError(
                f"rank {rank} has other settings, another image or another kind of device than "
                "rank 0; start all ranks with the same command"
            )
