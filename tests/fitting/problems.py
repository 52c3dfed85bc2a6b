"""Small fits that the tests of this folder share."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from block_problems import CPU, NEVER, Kind, Problem, problem_of
from level_loop import fit_levels
from torch import Tensor

from miner.fitting.backend import EagerBackend
from miner.fitting.capacity import UniformCapacity
from miner.fitting.criteria import ConstantSchedule, MSELoss
from miner.fitting.initialization import FreshWeights
from miner.fitting.pyramid_fit import PyramidFit, make_spec, prepare_backend
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.settings import FitSettings
from miner.images import PixelFormat
from miner.models.activations import Activation, Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import Parameters
from miner.pyramids.pyramid import LaplacianPyramid
from miner.representation import Representation
from miner.representation.storage import Float32Storage
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal, Signal
from miner.signals.store import LocalSignalStore, SignalStore
from miner.support.communication import SINGLE_PROCESS, Communicator

SINE, EAGER = Sine(), EagerBackend()
ADAM = partial(torch.optim.Adam, lr=2e-3, betas=(0.9, 0.99))


def problem(
    readout: str = "closed_form", activation: Activation = SINE, n_blocks: int = 12
) -> Problem:
    """Blocks of 36 pixels with two channels, each with a start of its own."""
    kind = Kind(readout, activation, CosineEncoding(3), n_axes=2, width=5, depth=2, channels=2)
    plain = {"schedule": ConstantSchedule(), "key": (0, 0, "pixels")}
    return problem_of(kind, 36, n_blocks, n_steps=20, optimizer=ADAM).with_steps(**plain)


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
    activation=SINE,
    encoding=CosineEncoding(4),
    width=6,
    depth=2,
    readout=ClosedFormReadout(),
    weights=FreshWeights(),
    optimizer=partial(torch.optim.Adam, lr=2e-2, betas=(0.9, 0.99)),
    schedule=ConstantSchedule(),
    loss=MSELoss(),
    pruning=NEVER,
    storage=Float32Storage(),
    capacity=UniformCapacity(),
    backend=EAGER,
    max_mse=1e-4,
    coarse_ratio=1.0,
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
    **changes: Any,
) -> PyramidFit:
    """A fitter of a signal `(C, *S)` with some of `SETTINGS` changed."""
    settings = replace(SETTINGS, **changes)
    pixel_format = PixelFormat.of_values("float32", signal.shape[0])
    spec = make_spec(tuple(signal.shape[1:]), pixel_format, settings)
    store = store or LocalSignalStore(CPU, Scratch(None))
    settings = prepare_backend(settings, spec, store.device)
    return PyramidFit(ArraySignal(signal.numpy()), spec, settings, store, ranks, n_threads)


def whole_of(signal: Signal) -> Tensor:
    return signal.read(whole(signal.sides))


def fit(signal: Tensor, **changes: Any) -> Representation:
    """Fit a signal `(C, *S)` with some of `SETTINGS` changed."""
    return fit_levels(fitter(signal, **changes))
