"""What a report says of a level, and of a run."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from miner.fitting.capacity import TOLERANCE, TOLERANCE_DB
from miner.fitting.level_fit import LevelFit
from miner.metrics.scores import psnr_of_sse
from miner.representation import Representation, Shard
from miner.signals.grid import PatchGrid
from miner.signals.regions import Region, sides_of
from miner.signals.scratch import n_bytes
from miner.support.process import package_versions, peak_memory_gib

if TYPE_CHECKING:
    from miner.engine.scoring import ScoredModule

_LOG = logging.getLogger("miner")


class LevelRecord(NamedTuple):
    """One level of a report; `n_active` blocks have a network, `n_converged` of them left early.

    `n_missed` are stored with an error above the level's bound by more than a tolerance of 0.3 dB.
    `n_replaced` miss it at the finest level, so that finer blocks represent their pixels. PSNR is
    that of pixels that the level represents, and NaN without any.
    """

    level: int
    width_px: int
    height_px: int
    n_blocks: int
    n_active: int
    n_converged: int
    n_fresh: int
    n_diverged: int
    n_missed: int
    n_replaced: int
    n_parameters: int
    psnr_db: float
    wall_time_s: float

    def show(self) -> None:
        """Log the level's line."""
        psnr = "" if math.isnan(self.psnr_db) else f"  {self.psnr_db:.2f} dB"
        size, active = f"{self.width_px}x{self.height_px}", f"{self.n_active} of {self.n_blocks}"
        ends = f"{self.n_converged} converged, {self.n_fresh} started fresh{psnr}"
        line = "level %d  %s  %s blocks active, %s  %.1f s"
        _LOG.info(line, self.level, size, active, ends, self.wall_time_s)
        if self.n_diverged:
            fate = "diverged and were fitted again at a tenth of optimizer.lr"
            reason = f"{fate}, which is too high for them"
            _LOG.warning("level %d: %d blocks %s", self.level, self.n_diverged, reason)


class CurvePoint(NamedTuple):
    """Quality during a fit; steps, seconds and parameters are counted over all levels.

    `refit` is 0 in the first fits of a level, then the number of the refit with wider networks.
    """

    level: int
    step: int
    seconds: float
    parameters: int
    psnr_db: float
    refit: int = 0


def count_missed(fit: LevelFit, region: Region, squared_error: Tensor) -> int:
    """How many of a level's blocks in a box of whole ones miss the bound.

    `squared_error` `(*S)` is that of what is stored, summed over channels, 0 without data.
    """
    grid, spec = PatchGrid(sides_of(region), fit.spec.patch_size), fit.spec
    bounds = fit.bounds[fit.grid.blocks_in(region)] * TOLERANCE * spec.n_channels
    valid = spec.valid(region, fit.level)
    share = 1 if valid is None else grid.block_means(torch.from_numpy(valid)[None])  # of the pixels
    return int((grid.block_means(squared_error[None]) > bounds * share).sum())


def record_level(
    fit: LevelFit, shards: Sequence[Shard], sse: float, n_missed: int, wall_time_s: float
) -> LevelRecord:
    """Sum up a level's shards; `sse` is the squared error of what was stored."""
    height, width = fit.spec.level_sides[fit.level][-2:]
    return LevelRecord(
        level=fit.level,
        width_px=width,
        height_px=height,
        n_blocks=fit.grid.n_blocks,
        n_active=sum(len(shard.blocks) for shard in shards),
        n_converged=sum(shard.stats.n_converged for shard in shards),
        n_fresh=sum(shard.stats.n_fresh for shard in shards),
        n_diverged=sum(shard.stats.n_diverged for shard in shards),
        n_missed=n_missed,
        n_replaced=fit.n_replaced,
        n_parameters=Representation(fit.spec, {fit.level: shards}).n_parameters,
        psnr_db=psnr_of_sse(sse, fit.n_represented) if fit.n_represented else math.nan,
        wall_time_s=wall_time_s,
    )


def build_report(module: "ScoredModule") -> dict[str, Any]:
    """A report of what was fitted and scored, with what a run and callbacks have added."""
    data, n_parameters = module.data, module.n_parameters
    height, width = data.spec.sides[-2:]
    file_bytes, n_pixels = module.file_bytes, math.prod(data.spec.sides)
    host_gib, gpu_gib = map(max, zip(peak_memory_gib(), *module.peaks_gib, strict=True))
    levels = [record._asdict() for record in module.records]
    report = {
        "status": "finished" if module.has_ended else "stopped",
        "image": data.source.name,
        "image_sha256": data.source.sha256,
        "width_px": width,
        "height_px": height,
        "channels": data.spec.n_channels,
        "masked_pixels": data.spec.mask.n_masked if data.spec.mask else 0,
        "mask_sha256": data.spec.mask.sha256 if data.spec.mask else "",
        "data_range": list(data.spec.pixel_format.data_range),
        **module.scores,
        "n_parameters": n_parameters,
        "parameters_per_pixel": None if n_parameters is None else n_parameters / n_pixels,
        "file_bytes": file_bytes,
        "bits_per_pixel": None if file_bytes is None else 8 * file_bytes / n_pixels,
        "wall_time_s": time.time() - module.began,
        "fit_time_s": module.fit_time_s,
        "peak_memory_gib": host_gib,
        "peak_gpu_memory_gib": gpu_gib or None,
        "device": str(data.device),
        "world_size": data.ranks.world_size,
        "threads": torch.get_num_threads(),
        "n_resumed_shards": module.n_resumed_shards,
        "seed": data.seed,
        "versions": package_versions(),
        "levels": [{name: level[name] for name in level if name != "n_fresh"} for level in levels],
        **module.extra,
    }
    return report | {"objective": module.objective.value(report)}


def remarks(module: "ScoredModule") -> Iterator[str]:
    """What to say of fitted blocks: those that miss the bound, and files that are too large."""
    if module.representation is None:
        return
    last, settings = module.records[-1], module.data.settings
    if last.n_missed and (remedy := settings.capacity.remedy):
        bound = f"{-10 * math.log10(settings.max_mse):.1f} dB (fitting.target_psnr or max_mse)"
        missed = f"{last.n_missed} of {last.n_blocks} blocks miss the bound of {bound}"
        yield f"{missed} by more than {TOLERANCE_DB} dB; {remedy} brings more of them there"
    source, n_stored = module.data.source, module.file_bytes or 0
    n_raw = n_bytes((source.n_channels, *source.sides), source.format.written)
    if n_stored > n_raw:
        remedy = "a lower bound in dB, storage=int8 or fewer parameters make it smaller"
        size = f"{n_stored:,} bytes, is larger than the raw pixels, {n_raw:,}"
        yield f"the representation, {size}; {remedy}"
