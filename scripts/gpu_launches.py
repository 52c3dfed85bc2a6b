"""Which tile, warps and registers suit the Triton programs on a device: each way is timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gpu_steps
import torch
from gpu_blocks import Case, blocks_of, settings_of
from gpu_checks import mean_psnr_db
from gpu_journal import Journal
from rows import Value

from miner.kernels.backend import TritonBackend
from miner.kernels.triton.launch import Launch

EXPECTED_S = 15.0  # of one way, its compilation included


@dataclass(frozen=True)
class Sizes:
    """What is timed, each case in each way."""

    cases: Sequence[Case]
    launches: Sequence[Launch]
    steps: gpu_steps.Sizes


def time_launches(
    sizes: Sizes, images: Sequence[Path], device: torch.device, journal: Journal
) -> None:
    """A row for each case and way; the PSNR after as many steps shows a way that is wrong."""
    for case in sizes.cases:
        for launch in sizes.launches:
            what = f"{case}, {launch}"
            if not journal.has_time_for(what, EXPECTED_S):
                continue
            with journal.noting(what):
                journal.row("launches", _timed(case, launch, sizes.steps, images, device))


def _timed(
    case: Case,
    launch: Launch,
    sizes: gpu_steps.Sizes,
    images: Sequence[Path],
    device: torch.device,
) -> dict[str, Value]:
    backend, n_blocks = TritonBackend(launch), sizes.n_blocks[-1]
    blocks = blocks_of(case, images, n_blocks).to(device)
    first_ms, step_ms = gpu_steps.step_times(backend, blocks, sizes, device)
    fit = blocks.fit(backend, settings_of(sizes.n_steps))
    return {
        "readout": case.readout, "width": case.width, "patch_size_px": case.patch_size,
        "channels": case.channels, "tile": launch.tile, "warps": launch.warps,
        "max_registers": launch.max_registers, "n_blocks": n_blocks,
        "first_launch_s": first_ms / 1e3, "step_ms": step_ms,
        "microseconds_per_block": 1e3 * step_ms / n_blocks, "psnr_db": mean_psnr_db(fit.mse),
    }  # fmt: skip
