"""Training steps of a batch of blocks, defined in plain PyTorch, and optimisers that suit them."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, NAdam, Optimizer, RAdam

from miner.fitting.criteria import Loss, Schedule
from miner.fitting.readout import Readout
from miner.fitting.soap import SOAP
from miner.models.network import BlockNetwork, Parameters, select, where

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
KNOWN = (Adam, AdamW, RAdam, NAdam, SOAP)  # each block moves alone


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded by a key such as `(seed, level)` or `(seed, level, step)`."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def pixel_subset(n_pixels: int, n_drawn: int, step: int, *key: int | str) -> Tensor:
    """Pixel numbers of one step: each pass visits all pixels once, in another order."""
    turn, part = divmod(step, -(-n_pixels // n_drawn))
    order = torch.randperm(n_pixels, generator=generator(*key, turn))
    return order[part * n_drawn : (part + 1) * n_drawn]


@dataclass(frozen=True)
class StepSettings:
    """How blocks are trained; `batch_pixels` None is all pixels, `key` seeds their draws."""

    n_steps: int
    optimizer: OptimizerFactory
    schedule: Schedule
    loss: Loss
    batch_pixels: int | None
    key: tuple[int | str, ...]
    rate: float = 1.0  # a factor on the optimiser's

    def factor(self, step: int) -> float:
        """What the optimiser's learning rate is multiplied by at a step, counted from 0."""
        return self.rate * self.schedule.factor(step, self.n_steps)

    def draws_pixels(self, n_pixels: int) -> bool:
        """Whether a step sees only some pixels of a block that has `n_pixels`."""
        return self.batch_pixels is not None and self.batch_pixels < n_pixels

    def pixels(self, step: int, n_pixels: int) -> Tensor | None:
        """Pixel numbers that a step sees, None for all."""
        if self.batch_pixels is None or not self.draws_pixels(n_pixels):
            return None
        return pixel_subset(n_pixels, self.batch_pixels, step, *self.key)


class BlockProblem(NamedTuple):
    """Blocks to train: coordinates `(E, P)`, targets `(B, C, P)`, trained parameters `(B, ...)`."""

    network: BlockNetwork
    readout: Readout
    steps: StepSettings
    encoded: Tensor
    targets: Tensor
    start: Parameters

    def again(self, rows: Tensor, start: Mapping[str, Tensor], rate: float) -> "BlockProblem":
        """The problem of some blocks alone, from another start, at a part of the rate."""
        steps = replace(self.steps, rate=rate, loss=self.steps.loss.select(rows))
        own = {name: start[name][rows] for name in self.start}
        return self._replace(steps=steps, targets=self.targets[rows], start=own)


class BlockTrainer(ABC):
    """Blocks in training; errors `(B,)` and best states `(B, ...)` change as they are measured."""

    best: Parameters

    def __init__(self, problem: BlockProblem) -> None:
        self.settings, self.n_pixels = problem.steps, problem.targets.shape[-1]
        self.step = 0  # number of steps done
        self.mse = problem.targets.new_full((len(problem.targets),), torch.inf)
        self.best_mse = self.mse.clone()

    def advance(self, n_steps: int) -> None:
        """Train. With all pixels, each step first measures the state that it moves away from."""
        self._run(n_steps, moves=True)
        self.step += n_steps

    def evaluate(self) -> None:
        """Measure the present state over all pixels, or rely on that before the last step."""
        if self.settings.draws_pixels(self.n_pixels) or self.step == self.settings.n_steps:
            self._run(1, moves=False)

    @abstractmethod
    def deactivate(self, blocks: Tensor) -> bool:
        """Leave the blocks of a mask `(B,)` out, for good; says if all are known to be out."""

    @abstractmethod
    def _run(self, n_steps: int, moves: bool) -> None:
        """Take steps from `step` on. Without `moves`, measure over all pixels, no more."""


class EagerTrainer(BlockTrainer):
    """Plain PyTorch, which computes the blocks that are still in training."""

    def __init__(self, problem: BlockProblem) -> None:
        super().__init__(problem)
        self.network, self.readout, _, self.encoded, self.targets, start = problem
        self._trained = {name: nn.Parameter(tensor.clone()) for name, tensor in start.items()}
        self._constants = self.readout.constants(self.targets, self._trained)
        self._optimizer = self.settings.optimizer(self._trained.values())
        self._base_lr = float(self._optimizer.param_groups[0]["lr"])
        self._rows = torch.arange(len(self.mse), device=self.mse.device)  # still in training
        self._loss, self.best = self.settings.loss, {}

    def deactivate(self, blocks: Tensor) -> bool:
        """Drop blocks from the computation, with their optimiser states."""
        leaves = blocks[self._rows]
        if leaves.any():
            stays = torch.nonzero(~leaves).flatten()
            self._trained = keep_blocks(self._optimizer, self._trained, stays)
            self._rows, self.targets = self._rows[stays], self.targets[stays]
            self._constants = select(self._constants, stays)
            self._loss = self._loss.select(stays)
        return len(self._rows) == 0

    def _run(self, n_steps: int, moves: bool) -> None:
        if not moves:
            with torch.no_grad():
                self._remember(*self._forward(self.encoded, self.targets)[1:])
            return
        for step in range(self.step, self.step + n_steps):
            encoded, targets = self.encoded, self.targets
            if (pixels := self.settings.pixels(step, self.n_pixels)) is not None:
                pixels = pixels.to(encoded.device)
                encoded, targets = encoded[:, pixels], targets[..., pixels]
            residual, mse, readout_parameters = self._forward(encoded, targets)
            if pixels is None:
                self._remember(mse.detach(), readout_parameters)
            self._optimizer.param_groups[0]["lr"] = self._base_lr * self.settings.factor(step)
            self._optimizer.zero_grad()
            self._loss(residual, mse).sum().backward()
            self._optimizer.step()

    def _forward(self, encoded: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Parameters]:
        features = self.network.model.features(self._trained, encoded)
        known = self._constants | self._trained
        readout_parameters = self.readout.solve(features, targets, known)
        residual = self.network.head.outputs(features, readout_parameters) - targets
        return residual, residual.square().mean(dim=(1, 2)), readout_parameters

    def _remember(self, mse: Tensor, readout_parameters: Parameters) -> None:
        rows, best_mse = self._rows, self.best_mse[self._rows]
        better = mse < best_mse  # false for NaN: a diverged state is never kept
        self.mse = self.mse.index_copy(0, rows, mse)
        self.best_mse = self.best_mse.index_copy(0, rows, torch.fmin(mse, best_mse))
        known = self._trained | readout_parameters
        present = {name: tensor.detach() for name, tensor in known.items()}
        best = self.best or present
        kept = where(better, present, select(best, rows))
        self.best = {name: best[name].index_copy(0, rows, kept[name]) for name in best}


def without_parameters(factory: OptimizerFactory) -> Optimizer | None:
    """SOAP or one of Adam's family with its numbers in `defaults`; None for other factories.

    It trains nothing, as adding parameters would import torch._dynamo, which takes a second.
    """
    cls, numbers = getattr(factory, "func", None), getattr(factory, "keywords", {})
    if cls not in KNOWN or "fused" in numbers or len(numbers.get("betas", (0, 0))) != 2:
        return None
    optimizer: Optimizer = cls.__new__(cls)
    try:
        cls.__init__(optimizer, [], **numbers)
    except ValueError:  # for want of parameters, if the numbers were taken
        if not hasattr(optimizer, "defaults"):
            raise
    return optimizer


def probe(factory: OptimizerFactory) -> None:
    """Raise `ValueError` unless two blocks in one tensor move as each of them moves alone."""
    target = getattr(factory, "func", factory)
    name = f"optimizer={getattr(target, '__name__', target)}"
    remedy = "use an element-wise torch.optim class such as adam, adamw, radam or nadam"
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    gradients = torch.randn(3, *start.shape, generator=generator, dtype=torch.float64)
    gradients[:, 1] *= 10  # a norm over both blocks would show
    try:
        if without_parameters(factory) is not None:  # these are known to
            return
        both = _walk(factory, start, gradients)
        alone = [_walk(factory, start[b : b + 1], gradients[:, b : b + 1]) for b in range(2)]
    except Exception as error:  # whatever a foreign optimiser raises is the reason it is refused
        reason = f"{type(error).__name__}: {error}"
        setting = "change that setting, leave it out with ~optimizer.NAME"
        raise ValueError(f"{name}: {reason}; {setting}, or {remedy}") from error
    moved = torch.cat(alone) - start
    if not torch.allclose(both - start, moved, rtol=1e-6, atol=1e-6 * float(moved.abs().max())):
        raise ValueError(f"{name}: every block must move as it does alone; {remedy}")


def _walk(factory: OptimizerFactory, start: Tensor, gradients: Tensor) -> Tensor:
    parameter = nn.Parameter(start.clone())
    optimizer = factory([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def keep_blocks(
    optimizer: Optimizer, parameters: dict[str, nn.Parameter], index: Tensor
) -> dict[str, nn.Parameter]:
    """Parameters of blocks `index` alone, which the optimiser trains from then on."""
    kept = {name: nn.Parameter(old.detach()[index]) for name, old in parameters.items()}
    for name, old in parameters.items():
        optimizer.state[kept[name]] = {
            key: value[index] if getattr(value, "ndim", 0) and len(value) == len(old) else value
            for key, value in optimizer.state.pop(old, {}).items()
        }
    optimizer.param_groups[0]["params"] = list(kept.values())
    return kept
