"""Whether a kernel's fits are right: against the definition in float64, and against themselves."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from gpu_blocks import Blocks, Case, blocks_of, settings_of
from gpu_journal import Journal
from rows import Value
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.block_fit import BlockFit
from miner.fitting.steps import StepSettings

MOST_DIFFERENCE_DB = 0.05  # over a thousand blocks or more: single ones drift apart by a decibel
FEW_STEPS = 3
USUAL = 30  # times what float32 costs plain PyTorch
TF32 = 1e-2  # of the way that parameters go: several times what such products take from it
EXPECTED_S = 25.0  # of one case, the kernel's compilation included


@dataclass(frozen=True)
class Sizes:
    """How much is checked."""

    cases: Sequence[Case]
    n_blocks: int
    n_steps: int


def check(
    backend: Backend, sizes: Sizes, images: Sequence[Path], device: torch.device, journal: Journal
) -> None:
    """A row for each case; what is wrong is noted as a failure."""
    worst: float | None = None
    for case in sizes.cases:
        if not journal.has_time_for(f"check of {case}", EXPECTED_S):
            continue
        with journal.noting(f"check of {case}"):
            blocks = blocks_of(case, images, sizes.n_blocks).to(device)
            numbers, wrong = checked(backend, blocks, sizes.n_steps)
            worst = max(worst or 0.0, numbers["difference_db"])
            journal.row("checks", _shape(case, sizes) | numbers)
            for each in wrong:
                journal.fail(f"{case}: {each}")
    most = most_difference_db(sizes.n_blocks)
    is_met = worst is not None and worst <= most
    bound = f"at most {most:.2g} dB over {sizes.n_blocks} blocks"
    journal.target("mean PSNR against float64, largest of the cases", bound, worst, is_met)


def _shape(case: Case, sizes: Sizes) -> dict[str, Value]:
    return {
        "readout": case.readout, "width": case.width, "patch_size_px": case.patch_size,
        "channels": case.channels, "n_blocks": sizes.n_blocks, "n_steps": sizes.n_steps,
    }  # fmt: skip


def checked(backend: Backend, blocks: Blocks, n_steps: int) -> tuple[dict[str, float], list[str]]:
    """Numbers of a case, and what is wrong with them."""
    settings, truth = settings_of(n_steps), blocks.to(torch.float64)
    backend = blocks.prepared(backend, settings)
    expected = truth.fit(EagerBackend(), settings)
    single, found = blocks.fit(EagerBackend(), settings), blocks.fit(backend, settings)
    difference = abs(mean_psnr_db(found.mse) - mean_psnr_db(expected.mse))
    off, usual = distances(backend, blocks)
    again, poisoned = blocks.fit(backend, settings), poisoned_fit(backend, blocks, settings)
    rows = torch.arange(0, len(blocks.targets), 7, device=blocks.targets.device)
    part = blocks.select(rows).fit(backend, settings)
    apart = outputs_apart(backend, blocks, found)
    numbers = {
        "psnr_db": mean_psnr_db(expected.mse),
        "difference_db": difference,
        "float32_difference_db": abs(mean_psnr_db(single.mse) - mean_psnr_db(expected.mse)),
        "parameters_off": off,
        "float32_parameters_off": usual,
        "outputs_apart_db": apart,
    }
    claims = {
        f"{difference:.3f} dB from float64": difference <= most_difference_db(len(found.mse)),
        f"parameters {off:.2g} off after {FEW_STEPS} steps": off <= USUAL * usual + TF32,
        f"outputs are {apart:.3f} dB from the errors of the fit": apart <= MOST_DIFFERENCE_DB,
        "a second fit has other bits": same_bits(found, again),
        "memory that nothing wrote is read": same_bits(found, poisoned),
        "blocks fitted alone have other bits": same_bits(rows_of(found, rows), part),
    }
    return numbers, [claim for claim, holds in claims.items() if not holds]


def most_difference_db(n_blocks: int) -> float:
    """How far the mean PSNR of so many blocks may be from that of float64."""
    return MOST_DIFFERENCE_DB * math.sqrt(max(1.0, 1000 / n_blocks))


def distances(backend: Backend, blocks: Blocks) -> tuple[float, float]:
    """How far trained parameters are from float64's after a few steps: the kernel's, PyTorch's.

    In parts of the way that a block's parameters went, by steps that are proportional to gradients.
    Each is what 99 of 100 blocks stay below: the rest may have kept the state of another step.
    """
    settings = settings_of(FEW_STEPS, lr=1.0, eps=100.0)
    truth = blocks.to(torch.float64).fit(EagerBackend(), settings).parameters
    way = _largest(truth, blocks.start)

    def distance(fit: BlockFit) -> float:
        part = _largest(fit.parameters, {name: truth[name] for name in blocks.start}) / way
        return float(part.quantile(0.99))

    return distance(blocks.fit(backend, settings)), distance(blocks.fit(EagerBackend(), settings))


def _largest(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> Tensor:
    """The largest difference of any of a block's numbers that `two` has, `(B,)`."""
    apart = [(one[name].double() - tensor).reshape(len(tensor), -1) for name, tensor in two.items()]
    return torch.cat(apart, dim=1).abs().amax(dim=1).clamp(min=1e-12)


def outputs_apart(backend: Backend, blocks: Blocks, fit: BlockFit) -> float:
    """Mean PSNR of what the kernel renders against that of the errors the fit measured."""
    outputs = backend.outputs(blocks.model, fit.parameters, blocks.encoded)
    mse = (outputs - blocks.targets).square().mean(dim=(1, 2))
    return abs(mean_psnr_db(mse) - mean_psnr_db(fit.mse))


def poisoned_fit(backend: Backend, blocks: Blocks, settings: StepSettings) -> BlockFit:
    """A fit in memory that is not a number wherever PyTorch hands it out unwritten."""
    with _poisoned_memory():
        return blocks.fit(backend, settings)


@contextmanager
def _poisoned_memory() -> Iterator[None]:
    was_on = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what is empty with NaN
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on)


def mean_psnr_db(mse: Tensor) -> float:
    """Mean over blocks; infinite where an error is no number, so that nothing passes."""
    psnr = float((-10 * mse.double().log10()).mean())
    return psnr if math.isfinite(psnr) else math.inf


def rows_of(fit: BlockFit, rows: Tensor) -> BlockFit:
    """The part of a fit that is some blocks'."""
    parameters = {name: tensor[rows] for name, tensor in fit.parameters.items()}
    masks = fit.converged[rows], fit.diverged[rows], fit.diverged_again[rows]
    return BlockFit(parameters, fit.mse[rows], *masks, ())


def same_bits(one: BlockFit, two: BlockFit) -> bool:
    """Whether two fits have equal errors and parameters, none of which is NaN."""
    return torch.equal(one.mse, two.mse) and _equal(one.parameters, two.parameters)


def _equal(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())
