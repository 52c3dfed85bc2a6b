"""The settings of other methods: networks from coordinates to values, and codecs."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import psutil
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, ValidationError

from miner.config.build import build_metrics, build_objective
from miner.config.job import Job
from miner.engine.method import Method, open_source_image
from miner.images.pixel_format import OpenedFile
from miner.peers.codecs import BlockDct, Codec
from miner.support.errors import ConfigError
from miner.support.ranges import Count, Positive, Ratio, ranges_of, rule

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from miner.engine.scoring import ScoredModule
    from miner.peers.module import PeerModule
    from miner.signals.scratch import Scratch

Betas = Annotated[
    Sequence[Annotated[float, Field(ge=0, lt=1)]],
    rule("be two numbers from 0 to below 1", min_length=2, max_length=2),
]
_BYTES = 20  # of a trained number: its gradient, Adam's two, and the best state, in float32
Make = Callable[[tuple[int, ...], int, int], Any]
"""Gives a `PeerNetwork` of sides, channels and size."""


def _no_network(*of: Any) -> Any:
    raise ConfigError("method.network: names no class; give it a _target_, with _partial_: true")


def check_component(name: str, component: Any, settings: DictConfig) -> None:
    """Refuse, by a `ConfigError`, a setting outside the range beside its field."""
    kind: Any = type(component)
    model = ranges_of(kind)
    known = {field.alias or key: field for key, field in model.model_fields.items()}
    try:
        model.model_validate(OmegaConf.to_container(settings, resolve=True))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        rule = known[key].description or first["msg"]
        raise ConfigError(f"{name}.{key}={first['input']}: {rule}") from None


@dataclass(frozen=True)
class Peer(Method):
    """A method that fits a whole image, in memory, in one process."""

    def check(self, config: DictConfig, image: OpenedFile) -> None:
        """Refuse several processes, and the settings of the trainer that the method replaces."""
        for name, usual, remedy in (
            ("strategy", "auto", "one process fits the image; use trainer=auto"),
            ("max_time", None, "set method.max_seconds"),
        ):
            if config.trainer[name] != usual:
                raise ConfigError(f"trainer.{name}={config.trainer[name]}: {remedy}")

    def build(
        self, config: DictConfig, job: Job, scratch: "Scratch"
    ) -> "tuple[pl.LightningDataModule, ScoredModule]":
        """The image, and what is fitted to it."""
        from miner.peers.module import PeerData

        data = PeerData(partial(open_source_image, config, scratch), scratch, config.seed)
        of_run = build_objective(config), job.began, build_metrics(config)
        return data, self.module(int(config.trainer.fast_dev_run) or None, *of_run)

    @abstractmethod
    def module(self, max_steps: int | None, *of_run: Any) -> "PeerModule":
        """What is fitted; `max_steps` of a trial run, and the arguments of `ScoredModule`."""


@dataclass(frozen=True)
class NetworkPeer(Peer):
    """A network that Adam trains with automatic optimisation until its time or steps are over.

    Its size is the largest within `parameters_per_pixel`. `final_lr_ratio` is that of the last to
    the first learning rate, which decays exponentially. Of each step's pixels, `batch_pixels` are
    drawn, each once before any other is drawn again.
    """

    parameters_per_pixel: Positive = 0.75
    max_seconds: Positive = 20.0
    max_steps: Count = 100_000
    batch_pixels: Annotated[
        Literal["all"] | Count, rule("be a whole number of at least 1, or all")
    ] = "all"
    lr: Positive = 1e-4
    final_lr_ratio: Ratio = 1.0
    betas: Betas = (0.9, 0.999)
    eps: Positive = 1e-8
    network: Make = _no_network

    def check(self, config: DictConfig, image: OpenedFile) -> None:
        """Refuse a network that does not work, a size too small for it, and one beyond memory."""
        from miner.peers.network import check_network, count_parameters
        from miner.peers.training import find_size

        super().check(config, image)
        check_network(self.network, image.sides, image.n_channels)
        size = find_size(self, image.sides, image.n_channels)
        n_numbers = count_parameters(self.network, image.sides, image.n_channels, size)
        if n_numbers * _BYTES > (free := psutil.virtual_memory().available):
            needed = f"takes {n_numbers * _BYTES:.3g} bytes of memory, and {free:.3g} are free"
            given = f"method.parameters_per_pixel={self.parameters_per_pixel}"
            raise ConfigError(f"{given}: {needed}; give less")

    def module(self, max_steps: int | None, *of_run: Any) -> "PeerModule":
        """The network's training."""
        from miner.peers.training import NetworkModule

        return NetworkModule(self, max_steps or self.max_steps, *of_run)


@dataclass(frozen=True)
class CodecPeer(Peer):
    """A codec, which is not trained: a transform within a size, or a format with a quality."""

    codec: Codec = field(default_factory=BlockDct)

    def check(self, config: DictConfig, image: OpenedFile) -> None:
        """Refuse a volume, a size for a format and none for a transform, and a format's options."""
        super().check(config, image)
        size, is_sized = self.parameters_per_pixel, self.codec.takes_size
        check_component("method.codec", self.codec, config.method.codec)
        if len(image.sides) != 2:
            raise ConfigError("method: codecs take images of two axes; choose a network")
        if (size is None) == is_sized:
            rule = "give a number" if is_sized else "the quality decides; leave it out"
            raise ConfigError(f"method.parameters_per_pixel={size}: {rule}")
        if not is_sized:
            if self.max_seconds is not None:
                raise ConfigError(f"method.max_seconds={self.max_seconds}: nothing is trained")
            if image.n_channels not in (1, 3):
                rule = "formats take 1 or 3 channels; choose method=dct or a network"
                raise ConfigError(f"method: {image.n_channels} channels: {rule}")
            if (cost := config.objective.get("cost")) in ("n_parameters", "parameters_per_pixel"):
                rule = "formats have no parameters; choose objective=psnr_at_bits"
                raise ConfigError(f"objective.cost={cost}: {rule}")
            self.codec.encode(np.zeros((image.n_channels, 16, 16), np.float32), None)

    def module(self, max_steps: int | None, *of_run: Any) -> "PeerModule":
        """The encoding."""
        from miner.peers.training import CodecModule

        return CodecModule(self, *of_run)
