"""MINER in a notebook: fit an array without a command line, a folder or Lightning."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import ArrayLike
from omegaconf import DictConfig, OmegaConf

from miner.config import CONF_FOLDER, build_settings
from miner.fitting.fitter import PyramidFitter, fit_pyramid, make_spec
from miner.images import PixelFormat
from miner.representation import MinerRepresentation
from miner.schema import ConfigError, check_config, check_lists

_GROUPS_WITHOUT_EFFECT = ("image", "logger", "trainer")


def fit(array: ArrayLike, *, device: str = "cpu", **settings: Any) -> MinerRepresentation:
    """Fit an array and keep the representation in memory.

    Takes `(C, *S)` values in [0, 1] with 2 or 3 spatial axes; an image `(H, W)` may leave out the
    channel. Settings have the names of `conf/`: a group's option as a string and fields as a
    mapping, both if need be.

        miner.fit(image, pyramid="gaussian", fitting={"max_steps": 100}, patch_size=16)

    Raises:
        ConfigError: a setting is wrong.
        ValueError: the array has another shape, no values, or values outside [0, 1].
    """
    signal = _signal(array)
    config = compose_settings(settings)
    built = build_settings(config)
    n_levels = built.pyramid.levels_for(tuple(signal.shape[1:]), built.patch_size)
    check_lists(check_config(config), n_levels)
    pixel_format = PixelFormat.of_values("float32", signal.shape[0])
    spec = make_spec(tuple(signal.shape[1:]), pixel_format, built)
    return fit_pyramid(PyramidFitter(signal, spec, built, torch.device(device)))


def compose_settings(settings: Mapping[str, Any]) -> DictConfig:
    """The configuration of a run with some settings changed.

    Raises:
        ConfigError: no such group, option or setting.
    """
    idle = sorted(set(settings) & set(_GROUPS_WITHOUT_EFFECT))
    if idle:
        raise ConfigError(f"{idle[0]}: has no effect on miner.fit; leave it out")
    choices = [f"{name}={value}" for name, value in settings.items() if isinstance(value, str)]
    fields = {name: value for name, value in settings.items() if not isinstance(value, str)}
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        try:
            config = compose("config", overrides=choices)
            return DictConfig(OmegaConf.merge(config, OmegaConf.create(fields)))
        except Exception as error:  # Hydra and OmegaConf name the setting and the options
            raise ConfigError(str(error)) from error


def _signal(array: ArrayLike) -> torch.Tensor:
    values = np.asarray(array)
    if values.ndim == 2:
        values = values[None]
    if values.ndim not in (3, 4) or values.size == 0:
        raise ValueError(
            f"array of shape {values.shape}: must be (C, H, W) or (C, D, H, W) with at least one "
            "value"
        )
    if values.dtype.kind != "f":
        raise ValueError(f"array of {values.dtype}: divide by its full range, as array / 255")
    signal = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    if not bool(((signal >= 0) & (signal <= 1)).all()):
        raise ValueError(
            f"values from {values.min()} to {values.max()}: must lie in [0, 1]; scale them"
        )
    return signal.clone()
