"""Composition of a configuration by Hydra, whatever else uses Hydra in the same process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf

from miner.config.build import CONF_FOLDER
from miner.config.schema import FIT_GROUPS
from miner.support.errors import ConfigError
from miner.support.files import flatten

_OF_IMAGES = ("fitting.in_memory_mib", "fitting.scratch_dir")  # where a decoded image may be kept


@contextmanager
def own_hydra() -> Iterator[None]:
    """Let Hydra compose from `conf/`, and take its state back afterwards."""
    state = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
            yield
    finally:
        Singleton.set_state(state)


@lru_cache
def compose_config(*overrides: str) -> DictConfig:
    """The configuration of a run with such overrides; not to be changed."""
    with own_hydra():
        return compose("config", overrides=list(overrides))


def check_fit_unchanged(config: DictConfig, reason: str) -> None:
    """Refuse, by a `ConfigError`, the first setting of the pyramid of blocks that was changed."""
    names = [*FIT_GROUPS, "patch_size"]
    own, usual = (
        dict(flatten(cast(Any, OmegaConf.to_container(OmegaConf.masked_copy(one, names)))))
        for one in (config, compose_config())
    )
    for name, value in own.items():
        if usual.get(name, ...) != value and name not in _OF_IMAGES:
            raise ConfigError(f"{name}={value}: {reason}")
