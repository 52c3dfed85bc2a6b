"""Blocks of real pictures with networks of one shape, for checks and for times of steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import torch
from torch import Tensor

from miner.fitting.backend import Backend
from miner.fitting.block_fit import BlockFit, fit_blocks
from miner.fitting.criteria import CosineSchedule, LogMSELoss, NoPruning
from miner.fitting.readout import ClosedFormReadout, LearnedReadout, Readout
from miner.fitting.steps import StepSettings
from miner.models.activations import Activation, Gaussian, Siren
from miner.models.encodings import CosineEncoding, Encoding, PositionalEncoding
from miner.models.network import BlockMLP, BlockNetwork
from miner.models.parameters import Parameters, repeat, select
from miner.pyramids.resample import expand, reduce
from miner.signals.grid import CoordinateFrame, coordinates

ACTIVE_VARIANCE = 8e-5
"""Patches that vary less need no network."""

_NETWORKS: dict[str, tuple[Readout, Encoding, Activation, bool]] = {  # signed targets or not
    "closed_form": (ClosedFormReadout(), CosineEncoding(8), Siren(7.0), True),
    "gaussian": (ClosedFormReadout(), PositionalEncoding(4), Gaussian(), True),
    "sigmoid": (LearnedReadout(), PositionalEncoding(4), Gaussian(), False),
    "scaled_sine": (LearnedReadout(), PositionalEncoding(4), Gaussian(), True),
}


@dataclass(frozen=True)
class Case:
    """A shape of network: how its readout is found, and its sizes."""

    readout: str
    width: int
    patch_size: int = 32
    channels: int = 1
    depth: int = 2

    @property
    def is_signed(self) -> bool:
        """Whether targets are residuals rather than values of the picture."""
        return _NETWORKS[self.readout][3]

    def __str__(self) -> str:
        sizes = f"width {self.width}, patch {self.patch_size}, channels {self.channels}"
        return f"{self.readout}, {sizes}"


@dataclass(frozen=True)
class Blocks:
    """Encoded coordinates `(E, P)`, targets `(B, C, P)` and the parameters to start from."""

    model: BlockNetwork
    readout: Readout
    encoded: Tensor
    targets: Tensor
    start: Parameters

    def to(self, kind: torch.dtype | torch.device) -> "Blocks":
        """The same blocks in another precision or place."""
        return replace(
            self,
            encoded=self.encoded.to(kind),
            targets=self.targets.to(kind),
            start={name: tensor.to(kind) for name, tensor in self.start.items()},
        )

    def select(self, index: Tensor) -> "Blocks":
        """Some of the blocks."""
        return replace(self, targets=self.targets[index], start=select(self.start, index))

    def prepared(self, backend: Backend, settings: StepSettings) -> Backend:
        """The kernel, ready for these blocks.

        Raises:
            RuntimeError: it leaves them to another one.
        """
        ready = backend.prepare([self.model], self.readout, settings, self.targets.device)
        if type(ready) is not type(backend):
            raise RuntimeError(f"{type(backend).__name__} leaves this to {type(ready).__name__}")
        return ready

    def fit(self, backend: Backend, settings: StepSettings) -> BlockFit:
        """All steps of all blocks."""
        given = (self.model, self.readout, settings, NoPruning(settings.n_steps), 0.0)
        return fit_blocks(backend, *given, self.encoded, self.targets, self.start)


def settings_of(n_steps: int, lr: float = 0.02, eps: float = 1e-8) -> StepSettings:
    """Adam as in the default recipe."""
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.9, 0.99), eps=eps)
    return StepSettings(n_steps, adam, CosineSchedule(), LogMSELoss(), None, (0,))


def blocks_of(case: Case, images: Sequence[Path], n_blocks: int) -> Blocks:
    """Patches of the images, as many of each; where there are too few they begin again."""
    solver, encoding, activation, is_signed = _NETWORKS[case.readout]
    mlp = BlockMLP(encoding, activation, case.width, case.depth)
    model = BlockNetwork(mlp, solver.head(is_signed), case.channels)
    parts = [active_patches(case, path) for path in images]
    shares = [part[torch.arange(n_blocks) * len(part) // n_blocks] for part in parts]
    targets = torch.stack(shares, dim=1).flatten(0, 1)[:n_blocks].contiguous()
    generator = torch.Generator().manual_seed(0)
    shapes = model.head.shapes(case.width, case.channels)
    drawn = mlp.draw(generator) | solver.draw(shapes, generator)
    sides = (case.patch_size, case.patch_size)
    encoded = encoding(coordinates(case.patch_size, sides, CoordinateFrame.own(2)))
    return Blocks(model, solver, encoded, targets, repeat(drawn, n_blocks))


def active_patches(case: Case, path: Path) -> Tensor:
    """All whole patches `(B, C, P)` of a picture that need a network.

    Signed targets are what the picture at half its sides, expanded, leaves over.

    Raises:
        SystemExit: the picture cannot be read, or none of its patches needs a network.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR if case.channels == 3 else cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise SystemExit(f"{path}: is no picture that can be read; give the folder that holds it")
    picture = torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1) / 255
    if case.is_signed:
        picture = picture - expand(reduce(picture), tuple(picture.shape[1:]))
    cut = picture.unfold(1, case.patch_size, case.patch_size)
    cut = cut.unfold(2, case.patch_size, case.patch_size)
    patches = cut.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(2)
    active = patches[patches.var(dim=-1).mean(dim=-1) > ACTIVE_VARIANCE]
    if len(active) == 0:
        raise SystemExit(f"{path}: has no patch of {case.patch_size} pixels that needs a network")
    return active
