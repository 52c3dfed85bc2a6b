"""How a run represents an image: by the pyramid of blocks, or by a method to compare it with."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from omegaconf import DictConfig

from miner.config.build import (
    build_component,
    build_metrics,
    build_objective,
    build_settings,
    check_lists,
)
from miner.config.compose import check_fit_unchanged, compose_config
from miner.config.fingerprint import fit_identity
from miner.config.job import Job
from miner.config.schema import FIT_GROUPS, check_config
from miner.engine.disk_space import shared_folder
from miner.images.pixel_format import OpenedFile
from miner.images.source import open_image
from miner.images.source_image import SourceImage
from miner.support.errors import ConfigError
from miner.support.ranges import rule

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from miner.engine.scoring import ScoredModule
    from miner.signals.scratch import Scratch

Limit = Annotated[float | None, rule("be a number above 0, or null", gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Method(ABC):
    """What is fitted, of a size of `parameters_per_pixel`, for at most `max_seconds`."""

    parameters_per_pixel: Limit = None
    max_seconds: Limit = None

    def configure(self, config: DictConfig) -> DictConfig:
        """The settings that a run has; `ConfigError` for one that the method does not use."""
        check_fit_unchanged(config, "this method has no use for it; leave out what sets it")
        return config

    @abstractmethod
    def check(self, config: DictConfig, image: OpenedFile) -> None:
        """Refuse, by a `ConfigError`, an image or settings that do not suit it."""

    @abstractmethod
    def build(
        self, config: DictConfig, job: Job, scratch: "Scratch"
    ) -> "tuple[pl.LightningDataModule, ScoredModule]":
        """What Lightning's trainer fits."""


@dataclass(frozen=True)
class BlockPyramid(Method):
    """MINER: patches with a network each, by the settings of all groups.

    `parameters_per_pixel` select the recipe `experiment=budget`, unless the run's own `capacity`
    has such a setting, which it then sets. After `max_seconds`, the `trainer.max_time`, no chunk is
    begun, and the run is finished.
    """

    def configure(self, config: DictConfig) -> DictConfig:
        """The settings, with those of the recipe where a size is given."""
        size, config = self.parameters_per_pixel, config.copy()
        if self.max_seconds is not None:
            own = {"seconds": self.max_seconds}
            if config.trainer.max_time not in (None, own):
                reason = f"is another limit than method.max_seconds={self.max_seconds}; set one"
                raise ConfigError(f"trainer.max_time={config.trainer.max_time}: {reason}")
            config.trainer.max_time = own
        if size is None:
            return config
        if "parameters_per_pixel" not in config.capacity:
            reason = (
                f"method.parameters_per_pixel={size} takes the settings of experiment=budget; "
                "leave it out, or add experiment=budget, which your settings then change"
            )
            check_fit_unchanged(config, reason)
            recipe = compose_config("experiment=budget")
            config.update({group: recipe[group] for group in (*FIT_GROUPS, "patch_size")})
        config.capacity.parameters_per_pixel = size
        return config

    def check(self, config: DictConfig, image: OpenedFile) -> None:
        """Refuse lists that are longer than the pyramid."""
        check_lists(build_settings(config), image.sides)  # imports torch

    def build(
        self, config: DictConfig, job: Job, scratch: "Scratch"
    ) -> "tuple[pl.LightningDataModule, ScoredModule]":
        """The pyramid's levels, chunk by chunk."""
        from miner.engine.data import SignalData
        from miner.engine.module import MinerModule

        checked, settings = check_config(config), build_settings(config)
        shared = shared_folder(checked, job.folder)
        opened = partial(open_source_image, config, scratch, settings.max_mse)
        module = MinerModule(
            partial(fit_identity, config),
            build_objective(config),
            checked.trainer.max_chunks,
            job.began,
            build_metrics(config),
            ends_with_time=self.max_seconds is not None,
        )
        return SignalData(opened, settings, scratch, job.folder, shared), module


def build_method(config: DictConfig) -> Method:
    """The method of a configuration; `ConfigError` if it cannot be built or is of a wrong kind."""
    method: Method = build_component("method", Method, config)
    return method


def configured(config: DictConfig) -> DictConfig:
    """The settings that a run has by its method; `ConfigError` for a wrong one."""
    check_config(config)
    return build_method(config).configure(config)


def open_source_image(config: DictConfig, scratch: "Scratch", max_mse: float = 0) -> SourceImage:
    """The image of a configuration, opened; raises `ImageError`."""
    image = check_config(config).image
    given = image.path, image.max_pixels, image.crop_px, scratch, image.axes, image.range
    more: Any = (None, image.nodata, image.mask, max_mse)
    return open_image(*given, *more)
