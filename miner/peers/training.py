"""The training of networks, and the encoding by codecs."""

import logging
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional

from miner.engine.records import CurvePoint
from miner.metrics.scores import psnr_of_sse, squared_error
from miner.peers.module import PeerModule
from miner.peers.network import count_parameters
from miner.signals.regions import Region, sides_of, slices, whole
from miner.support.errors import ConfigError

if TYPE_CHECKING:
    from miner.peers.fit import CodecPeer, NetworkPeer
    from miner.peers.network import PeerNetwork

_LOG = logging.getLogger("miner")
_EVALUATIONS = 40  # of a training, closer together at its beginning
_EVALUATED_PIXELS = 2**16  # at most, the same each time
_RENDERED_PIXELS = 2**16  # at once


def coordinates(pixels: Tensor, sides: tuple[int, ...], box: Region | None = None) -> Tensor:
    """Coordinates `(P, D)` of pixels, numbered `(P,)` row-major in a box or in all of an image.

    The first pixel along an axis is at -1 and the last at 1.
    """
    axes = [
        torch.linspace(-1, 1, side)[first:end]
        for side, (first, end) in zip(sides, box or whole(sides), strict=True)
    ]
    found, left = [], pixels
    for axis in reversed(axes):
        found.append(axis[left % len(axis)])
        left = left // len(axis)
    return torch.stack(found[::-1], dim=-1)


def find_size(method: "NetworkPeer", sides: tuple[int, ...], n_channels: int) -> int:
    """The largest size of a network within a method's parameters; `ConfigError` if none is."""
    per_pixel, n_pixels = method.parameters_per_pixel, math.prod(sides)

    def fits(size: int) -> bool:
        return count_parameters(method.network, sides, n_channels, size) <= per_pixel * n_pixels

    if not fits(1):
        rule = f"is too little for this network and {n_pixels} pixels; give more"
        raise ConfigError(f"method.parameters_per_pixel={per_pixel}: {rule}")
    low, high = 1, 2
    while fits(high) and high < 2**40:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


class NetworkModule(PeerModule):
    """The training of a network; the best state is kept, by the error of some fixed pixels."""

    file_name = "network.safetensors"

    def __init__(self, method: "NetworkPeer", max_steps: int, *of_run: Any) -> None:
        super().__init__(*of_run)
        self._method, self._max_steps = method, max_steps
        self._step = self._n_evaluated = 0
        self._best_mse, self._is_finite = math.inf, True

    @property
    def n_parameters(self) -> int:
        """Stored numbers."""
        return self.network.n_parameters

    def setup(self, stage: str) -> None:
        """Build the network: the image is open."""
        super().setup(stage)
        sides, n_channels, seed = self.data.spec.sides, self.data.spec.n_channels, self.data.seed
        size = self.extra["network_size"] = find_size(self._method, sides, n_channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: PeerNetwork = self._method.network(sides, n_channels, size)
        valid = self.data.spec.valid(whole(sides))
        self._pixels = torch.arange(math.prod(sides))
        if valid is not None:
            self._pixels = self._pixels[torch.from_numpy(valid).flatten()]
        self._generator = torch.Generator().manual_seed(seed)
        sample = torch.randperm(len(self._pixels), generator=self._generator)
        self._sample = self._pixels[sample[:_EVALUATED_PIXELS]]

    def configure_optimizers(self) -> Any:
        """Adam, whose rate decays over the time or the steps, whichever is over first."""
        method, (b1, b2) = self._method, self._method.betas
        parameters = self.network.parameters()
        optimizer = torch.optim.Adam(parameters, method.lr, (b1, b2), method.eps)
        decay = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: method.final_lr_ratio**self.progress
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}

    @property
    def progress(self) -> float:
        """The part of the training that is done: of its time or of its steps."""
        if self._step == 0:
            return 0.0
        done = max(self.seconds / self._method.max_seconds, self._step / self._max_steps)
        return min(1.0, done)

    def on_train_start(self) -> None:
        """Start the clock, and keep the first state."""
        super().on_train_start()
        self._evaluate()
        self._first_mse = self._best_mse

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Coordinates `(P, D)` and targets `(P, C)` of each step's pixels."""
        sides, method, low = self.data.spec.sides, self._method, self.network.value_range[0]
        scale = self.network.value_range[1] - low
        values = self.data.image.flatten(1).T.contiguous() * scale + low
        n_pixels = len(self._pixels)
        n_drawn = n_pixels if method.batch_pixels == "all" else int(method.batch_pixels)
        same, n_given = (coordinates(self._pixels, sides), values[self._pixels]), 0
        while True:
            order = torch.randperm(n_pixels, generator=self._generator)
            for drawn in order.split(n_drawn) if n_drawn < n_pixels else (None,):
                yield same if drawn is None else (same[0][drawn], same[1][drawn])
                n_given += 1  # Lightning asks for one batch in advance
                if n_given == self._max_steps or self.progress >= 1 or not self._is_finite:
                    return

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor | None:
        """The mean squared error; None for one that is not finite, which ends the training."""
        loss = functional.mse_loss(self.network(batch[0]), batch[1])
        self._is_finite = self._is_finite and bool(torch.isfinite(loss))
        return loss if self._is_finite else None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Evaluate now and then."""
        self._step += 1
        if self.progress >= (self._n_evaluated / _EVALUATIONS) ** 2:
            self._evaluate()

    @torch.no_grad()
    def _evaluate(self) -> None:
        """Keep the state if it is the best so far, and add a point to the curve."""
        target = self.data.image.flatten(1)[:, self._sample]
        preds = self._values(coordinates(self._sample, self.data.spec.sides))
        mse = float(squared_error(target, preds.clone()).sum()) / target.numel()
        if mse < self._best_mse or self._step == 0:  # false for NaN
            self._best_mse = mse
            state = self.network.state_dict()
            self._best = {name: value.detach().cpu().clone() for name, value in state.items()}
        self._last_mse, self._is_finite = mse, self._is_finite and math.isfinite(mse)
        self._n_evaluated = 1 + math.floor(_EVALUATIONS * math.sqrt(self.progress))
        quality = psnr_of_sse(self._best_mse, 1)
        point = CurvePoint(0, self._step, self.seconds, self.n_parameters, quality)
        self.call("on_points", [point])
        self.show(self.progress, self._best_mse)

    def result(self) -> bytes:
        """The best state, as safetensors."""
        fault = "ends above its start" if self._last_mse > self._first_mse else ""
        fault = fault if self._is_finite else "is not finite"
        self.extra |= {"n_steps": self._step, "diverged": bool(fault)}
        if fault:
            _LOG.warning("step %d: the error %s; the best state is kept", self._step, fault)
        real = {k: torch.view_as_real(v) if v.is_complex() else v for k, v in self._best.items()}
        return save({name: value.contiguous() for name, value in real.items()})

    def restore(self, content: bytes) -> None:
        """Load a state into the network."""
        state, own = load(content), self.network.state_dict()
        self.network.load_state_dict(
            {k: torch.view_as_complex(v) if own[k].is_complex() else v for k, v in state.items()}
        )

    @torch.no_grad()
    def render(self, box: Region) -> Tensor:
        """The network's values at the pixels of a box."""
        sides = sides_of(box)
        xy = coordinates(torch.arange(math.prod(sides)), self.data.spec.sides, box)
        values: Tensor = self._values(xy).unflatten(1, sides)
        return values

    def _values(self, xy: Tensor) -> Tensor:
        """Values `(C, P)` in the unit range."""
        low, high = self.network.value_range
        parts = [self.network(part.to(self.device)).cpu() for part in xy.split(_RENDERED_PIXELS)]
        return (torch.cat(parts).T - low) / (high - low)


class CodecModule(PeerModule):
    """The encoding of an image, as the only step of a training."""

    file_name = "image.bin"

    def __init__(self, method: "CodecPeer", *of_run: Any) -> None:
        super().__init__(*of_run)
        self._method = method

    @property
    def n_parameters(self) -> int | None:
        """Stored numbers of a transform; None for a format."""
        return self._method.codec.n_parameters(self._stored)

    def configure_optimizers(self) -> None:
        """None."""

    def batches(self) -> Iterator[Tensor]:
        """The image, once."""
        yield self.data.image

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """Encode."""
        per_pixel, image = self._method.parameters_per_pixel, self.data.image
        size = None if per_pixel is None else int(per_pixel * image[0].numel())
        self._content = self._method.codec.encode(image.numpy(), size)

    def result(self) -> bytes:
        """What was encoded."""
        return self._content

    def restore(self, content: bytes) -> None:
        """Decode."""
        self._decoded = torch.from_numpy(self._method.codec.decode(content))

    def render(self, box: Region) -> Tensor:
        """A part of what was decoded."""
        part: Tensor = self._decoded[(slice(None), *slices(box))]
        return part
