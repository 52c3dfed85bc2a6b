"""Whether a backend's fits are right: against the definition in float64 and against themselves."""

import math
from collections.abc import Mapping

import torch
from gpu.blocks import cast, fit, prepared, settings_of
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.block_fit import BlockFit
from miner.fitting.steps import BlockProblem
from miner.models.network import select

MAX_DIFFERENCE_DB = 0.05  # beside what chance does: single blocks drift apart by a decibel
MAX_STANDARD_ERRORS = 2
LARGE_LOSS_DB, DRIFTS = 3.0, 4  # or so many standard deviations of what float32 costs a block
MAX_SHARE = 0.005  # of blocks that lose more; float32 on a CPU reaches 0.002
FEW_STEPS = 3
USUAL = 30  # times what float32 costs plain PyTorch
TF32 = 1e-2  # of the way that parameters go: several times what such products take from it


def checked(backend: Backend, blocks: BlockProblem) -> tuple[dict[str, float], list[str]]:
    """Numbers of a case, and what is wrong with them."""
    backend, eager = prepared(backend, blocks), EagerBackend()
    expected = fit(eager, cast(blocks, torch.float64))
    single, found = fit(eager, blocks), fit(backend, blocks)
    difference, chance = apart_db(found.mse, expected.mse), standard_error_db(found, expected)
    share = share_of_large_losses(found, expected, single)
    off, usual = distances(backend, blocks)
    outputs = backend.outputs(blocks.network, found.parameters, blocks.encoded)
    apart = apart_db((outputs - blocks.targets).square().mean(dim=(1, 2)), found.mse)
    rows = torch.arange(0, len(blocks.targets), 7, device=blocks.targets.device)
    some = blocks._replace(targets=blocks.targets[rows], start=select(blocks.start, rows))
    again, poisoned, part = fit(backend, blocks), poisoned_fit(backend, blocks), fit(backend, some)
    numbers = {
        "psnr_db": mean_psnr_db(expected.mse),
        "difference_db": difference,
        "standard_error_db": chance,
        "share_of_large_losses": share,
        "float32_difference_db": apart_db(single.mse, expected.mse),
        "parameters_off": off,
        "float32_parameters_off": usual,
        "outputs_apart_db": apart,
    }
    claims = {
        f"{difference:.3f} dB from float64, by chance {chance:.3f}": difference
        <= MAX_DIFFERENCE_DB + MAX_STANDARD_ERRORS * chance,
        f"{share:.2%} of the blocks lose more than by chance": share <= MAX_SHARE,
        f"parameters {off:.2g} off after {FEW_STEPS} steps": off <= USUAL * usual + TF32,
        f"outputs are {apart:.3f} dB from the errors of the fit": apart <= MAX_DIFFERENCE_DB,
        "a second fit has other bits": same_bits(found, again),
        "memory that nothing wrote is read": same_bits(found, poisoned),
        "blocks fitted alone have other bits": same_bits(found, part, rows),
    }
    return numbers, [claim for claim, holds in claims.items() if not holds]


def standard_error_db(one: BlockFit, two: BlockFit) -> float:
    """By how much the mean PSNR of two fits of the same blocks differs by chance."""
    return float(losses_db(one, two).std() / math.sqrt(len(one.mse)))


def losses_db(one: BlockFit, two: BlockFit) -> Tensor:
    """By how much each block's PSNR is lower than in another fit, `(B,)`."""
    return 10 * (one.mse.double() / two.mse.double()).log10()


def share_of_large_losses(found: BlockFit, expected: BlockFit, single: BlockFit) -> float:
    """Share of blocks that lose more than chance takes, which a fit in float32 shows.

    A few broken blocks would widen the bound of the mean, but not this one.
    """
    limit = max(LARGE_LOSS_DB, DRIFTS * float(losses_db(single, expected).std()))
    return float((losses_db(found, expected) > limit).double().mean())


def distances(backend: Backend, blocks: BlockProblem) -> tuple[float, float]:
    """How far trained parameters are from float64's after a few steps: the backend's, PyTorch's.

    Relative to the distance that a block's parameters moved, in steps proportional to gradients.
    99 of 100 blocks stay below each: the rest may have kept the state of another step.
    """
    blocks = blocks._replace(steps=settings_of(FEW_STEPS, lr=1.0, eps=100.0))
    truth = fit(EagerBackend(), cast(blocks, torch.float64)).parameters
    way = _largest(truth, blocks.start)

    def distance(found: BlockFit) -> float:
        part = _largest(found.parameters, {name: truth[name] for name in blocks.start}) / way
        return float(part.quantile(0.99))

    return distance(fit(backend, blocks)), distance(fit(EagerBackend(), blocks))


def _largest(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> Tensor:
    """The largest difference of any of a block's numbers that `two` has, `(B,)`."""
    apart = [(one[name].double() - tensor).reshape(len(tensor), -1) for name, tensor in two.items()]
    return torch.cat(apart, dim=1).abs().amax(dim=1).clamp(min=1e-12)


def poisoned_fit(backend: Backend, blocks: BlockProblem) -> BlockFit:
    """A fit in memory that is NaN wherever PyTorch returns it unwritten."""
    was_on = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # fills what is empty with NaN
    try:
        return fit(backend, blocks)
    finally:
        torch.use_deterministic_algorithms(was_on)


def mean_psnr_db(mse: Tensor) -> float:
    """Mean over blocks; infinite where an error is no number, so that nothing passes."""
    psnr = float((-10 * mse.double().log10()).mean())
    return psnr if math.isfinite(psnr) else math.inf


def apart_db(one: Tensor, two: Tensor) -> float:
    """The difference of the mean PSNR of two fits' errors."""
    return abs(mean_psnr_db(one) - mean_psnr_db(two))


def same_bits(one: BlockFit, two: BlockFit, rows: Tensor | None = None) -> bool:
    """Whether two fits, the first of them at `rows`, have equal errors and parameters, no NaN."""
    index = slice(None) if rows is None else rows
    pairs = [(tensor, two.parameters[name]) for name, tensor in one.parameters.items()]
    return all(torch.equal(a[index], b) for a, b in [(one.mse, two.mse), *pairs])
