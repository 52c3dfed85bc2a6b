"""Blocks of real images with networks of one shape, for checks and for timing steps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from miner.fitting.backend import Backend
from miner.fitting.block_fit import BlockFit, fit_blocks
from miner.fitting.criteria import CosineSchedule, LogMSELoss, NoPruning
from miner.fitting.device import run_fit
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, StepSettings
from miner.models.activations import Activation, Finer, Gaussian, Sine, Siren
from miner.models.encodings import CosineEncoding, Encoding, PositionalEncoding
from miner.models.network import BlockMLP, BlockNetwork, repeat
from miner.pyramids import LaplacianPyramid
from miner.signals.grid import coordinates

ACTIVE_VARIANCE = 8e-5  # patches that vary less need no network

_NETWORKS: dict[str, tuple[Readout, Encoding, Activation, bool]] = {  # signed targets or not
    "closed_form": (ClosedFormReadout(), CosineEncoding(8), Siren(7.0), True),
    "default": (ClosedFormReadout(), CosineEncoding(8), Sine(), True),
    "siren_30": (ClosedFormReadout(), CosineEncoding(8), Siren(30.0), True),
    "finer": (ClosedFormReadout(), CosineEncoding(8), Finer(), True),
    "gaussian": (ClosedFormReadout(), PositionalEncoding(4), Gaussian(), True),
    "sigmoid": (LearnedReadout(), PositionalEncoding(4), Gaussian(), False),
    "scaled_sine": (LearnedReadout(), PositionalEncoding(4), Gaussian(), True),
}


class Case(NamedTuple):
    """A shape of network: its kind, by the readout, and its sizes."""

    readout: str
    width: int
    patch_size: int = 32
    channels: int = 1
    depth: int = 2

    def __str__(self) -> str:
        sizes = f"width {self.width}, patch {self.patch_size}, channels {self.channels}"
        return f"{self.readout}, {sizes}"


def cast(blocks: BlockProblem, kind: torch.dtype | torch.device) -> BlockProblem:
    """The same blocks in another precision or on another device."""
    return blocks._replace(
        encoded=blocks.encoded.to(kind),
        targets=blocks.targets.to(kind),
        start={name: tensor.to(kind) for name, tensor in blocks.start.items()},
    )


def prepared(backend: Backend, blocks: BlockProblem) -> Backend:
    """The backend, ready for these blocks; an error if it leaves them to another one."""
    ready = backend.prepare(blocks)
    if type(ready) is not type(backend):
        raise RuntimeError(f"{type(backend).__name__} leaves this to {type(ready).__name__}")
    return ready


def fit(backend: Backend, blocks: BlockProblem) -> BlockFit:
    """All steps of all blocks."""
    return run_fit(fit_blocks(backend, blocks, NoPruning(blocks.steps.n_steps), 0.0))


def settings_of(n_steps: int, lr: float = 0.02, eps: float = 1e-8) -> StepSettings:
    """Adam as in the default recipe."""
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.9, 0.99), eps=eps)
    return StepSettings(n_steps, adam, CosineSchedule(), LogMSELoss(), None, (0,))


def blocks_of(
    case: Case, images: Sequence[Path], n_blocks: int, steps: StepSettings
) -> BlockProblem:
    """Patches of the images, as many of each; if there are too few they are repeated."""
    parts = [active_patches(case, path) for path in images]
    shares = [part[torch.arange(n_blocks) * len(part) // n_blocks] for part in parts]
    return problem_of(case, torch.stack(shares, dim=1).flatten(0, 1)[:n_blocks].contiguous(), steps)


def problem_of(case: Case, targets: Tensor, steps: StepSettings) -> BlockProblem:
    """Blocks with targets `(B, C, P)` and equal starting values."""
    readout, encoding, activation, is_signed = _NETWORKS[case.readout]
    mlp = BlockMLP(encoding, activation, case.width, case.depth)
    network = BlockNetwork(mlp, readout.head(is_signed), case.channels)
    generator = torch.Generator().manual_seed(0)
    shapes = network.head.shapes(case.width, case.channels)
    drawn = mlp.draw(network.n_inputs, generator) | readout.draw(shapes, generator)
    start = repeat(drawn, len(targets))
    sides = (case.patch_size, case.patch_size)
    encoded = encoding(coordinates(case.patch_size, sides))
    return BlockProblem(network, readout, steps, encoded, targets, start)


def active_patches(case: Case, path: Path) -> Tensor:
    """All whole patches `(B, C, P)` of an image that need a network.

    Signed targets are the residuals of the image at half its sides, expanded.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR if case.channels == 3 else cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ValueError(f"{path}: is not a readable image; give the folder that holds it")
    picture = torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1) / 255
    is_signed = _NETWORKS[case.readout][-1]
    if is_signed:
        pyramid = LaplacianPyramid()
        coarser = pyramid.reduce(picture)
        picture = pyramid.target(picture, pyramid.expand(coarser, tuple(picture.shape[1:])))
    cut = picture.unfold(1, case.patch_size, case.patch_size)
    cut = cut.unfold(2, case.patch_size, case.patch_size)
    patches = cut.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(2)
    active = patches[patches.var(dim=-1).mean(dim=-1) > ACTIVE_VARIANCE]
    if len(active) == 0:
        raise ValueError(f"{path}: has no patch of {case.patch_size} pixels that needs a network")
    return active
