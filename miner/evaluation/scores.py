"""Scores of a stored representation against its source."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from miner.evaluation.metrics import psnr_db, seam_ratio, ssim
from miner.representation import MinerRepresentation


@dataclass(frozen=True)
class Scores:
    """Quality over all real pixels, and how long rendering took."""

    psnr_db: float
    ssim: float | None
    seam_ratio: float | None
    render_time_s: float


def score(representation: MinerRepresentation, source: Tensor) -> tuple[Scores, Tensor]:
    """Render level 0 and compare it with the source `(C, *S)`; gives the rendering, clipped."""
    began = time.perf_counter()
    rendered = torch.from_numpy(representation.render())
    seconds = time.perf_counter() - began
    scores = Scores(
        psnr_db=psnr_db(source, rendered),
        ssim=ssim(source, rendered),
        seam_ratio=seam_ratio(source, rendered, representation.spec.patch_size),
        render_time_s=seconds,
    )
    return scores, rendered
