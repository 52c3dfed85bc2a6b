"""Small fits that the tests of this folder share, and what whole fits are compared by."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from block_problems import CPU, NEVER, fit_levels
from torch import Tensor

from miner.fitting.backend import Backend, EagerBackend
from miner.fitting.capacity import TargetErrorCapacity, UniformCapacity, WidthRequest
from miner.fitting.criteria import ConstantSchedule, MSELoss
from miner.fitting.initialization import FreshWeights
from miner.fitting.pyramid_fit import PyramidFit, make_spec, prepare_backend
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.selection import PerLevelSelection
from miner.fitting.settings import FitSettings
from miner.fitting.steps import BlockProblem, BlockTrainer
from miner.images.pixel_format import PixelFormat
from miner.models.activations import Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP, Parameters
from miner.pyramids.pyramid import LaplacianPyramid
from miner.representation import Representation
from miner.representation.storage import Float32Storage
from miner.signals.mask import Mask
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal
from miner.signals.store import LocalSignalStore, SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator


def penalty(features: Tensor, ridge: float) -> Tensor:
    """Lambda of each block: relative to the mean diagonal of the centred Gram matrix."""
    centred = features - features.mean(-1, keepdim=True)
    return ridge * centred.square().sum(-1).mean(-1)


def least_squares(features: Tensor, targets: Tensor, penalties: Tensor) -> Parameters:
    """Solve [F 1; sqrt(lambda) I 0] [W; b] = [T; 0] block by block."""
    weights, biases = [], []
    for F, T, one in zip(features, targets, penalties, strict=True):
        n = len(F)
        pixels = torch.cat([F.T, torch.ones_like(F[:1]).T], dim=1)
        ridge = torch.cat([one.sqrt() * torch.eye(n).to(F), torch.zeros(n, 1).to(F)], dim=1)
        right = torch.cat([T.T, torch.zeros(n, len(T)).to(F)])
        solution = torch.linalg.lstsq(torch.cat([pixels, ridge]), right, driver="gelsd").solution
        weights.append(solution[:-1])
        biases.append(solution[-1])
    return {"readout.weight": torch.stack(weights), "readout.bias": torch.stack(biases)}


SETTINGS = FitSettings(
    patch_size=8,
    seed=0,
    pyramid=LaplacianPyramid(2),
    model=BlockMLP(CosineEncoding(4), Sine(), width=6, depth=2),
    width=6,
    readout=ClosedFormReadout(),
    weights=FreshWeights(),
    optimizer=partial(torch.optim.Adam, lr=2e-2, betas=(0.9, 0.99)),
    schedule=ConstantSchedule(),
    loss=MSELoss(),
    pruning=NEVER,
    storage=Float32Storage(),
    capacity=UniformCapacity(),
    backend=EagerBackend(),
    max_mse=1e-4,
    level_selection=PerLevelSelection(1.0),
    max_steps=4,
    batch_pixels=None,
    blocks_per_shard=2048,
    max_memory_gib=1.0,
)


def fitter(
    signal: Tensor,
    store: SignalStore | None = None,
    ranks: Communicator = SINGLE_PROCESS,
    n_threads: int | None = None,
    mask: Mask | None = None,
    **changes: Any,
) -> PyramidFit:
    """A fitter of a signal `(C, *S)` with some of `SETTINGS` changed."""
    settings = replace(SETTINGS, **changes)
    pixel_format = PixelFormat.of_values("float32", signal.shape[0])
    spec = replace(make_spec(tuple(signal.shape[1:]), pixel_format, settings), mask=mask)
    store = store or LocalSignalStore(CPU, Scratch(None))
    settings = prepare_backend(settings, spec, store.device)
    return PyramidFit(ArraySignal(signal.numpy()), spec, settings, store, ranks, n_threads)


def fit(signal: Tensor, **changes: Any) -> Representation:
    """Fit a signal `(C, *S)` with some of `SETTINGS` changed."""
    return fit_levels(fitter(signal, **changes))


def masked_on_the_right(*sides: int) -> Mask:
    """All pixels of an image are data but those of its last 12 columns, and single ones."""
    valid = np.random.default_rng(0).random(sides) > 0.1
    valid[:, -12:] = False
    return Mask.of_parts(sides, [(whole(sides), valid)])


SINGLE = LaplacianPyramid(1)


def block_errors(representation: Representation, signal: Tensor) -> Tensor:
    error = (representation.reconstruct() - signal).square()
    return representation.spec.grid(0).block_means(error)


@dataclass(frozen=True)
class Wrapped(Backend):
    """Another backend, whose trainers `wrap` may replace when it sees what they train."""

    inner: Backend
    wrap: Callable[[BlockTrainer, BlockProblem], BlockTrainer]

    def trainer(self, problem: BlockProblem) -> BlockTrainer:
        return self.wrap(self.inner.trainer(problem), problem)

    def outputs(self, *given: Any) -> Tensor:
        return self.inner.outputs(*given)

    def max_blocks(self, *given: Any) -> int:
        return self.inner.max_blocks(*given)


class Round(NamedTuple):
    """Widths and errors of a chunk's blocks when all were fitted, and the bound that they had."""

    widths: Tensor
    mse: Tensor
    max_mse: float


@dataclass(frozen=True)
class Watched(TargetErrorCapacity):
    """Widths for a target error, and what was known after every round."""

    probe_steps: int = 5
    features_per_db: float = 4.4  # 1.1 in patches of 8 x 8
    max_width: int = 24
    rounds: list[Round] = field(default_factory=list, compare=False)

    def widen(self, widths: Tensor, mse: Tensor, request: WidthRequest) -> Tensor:
        self.rounds.append(Round(widths.clone(), mse.clone(), request.max_mse))
        return super().widen(widths, mse, request)


def widths_of(representation: Representation, level: int = 0) -> dict[int, int]:
    return {
        block: width
        for shard in representation.shards[level]
        for block, width in zip(shard.blocks.tolist(), shard.widths.tolist(), strict=True)
    }


def networks(representation: Representation, level: int = 0) -> dict[int, Parameters]:
    return {
        int(shard.blocks[row]): {name: tensor[n] for name, tensor in own.items()}
        for shard in representation.shards[level]
        for width, own in shard.stored.items()
        for n, row in enumerate(torch.nonzero(shard.widths == width).flatten().tolist())
    }
