"""Runs in this process: composed like a command's, without Hydra's folder."""

import time
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from miner.cli.sweep import compose_once
from miner.config.build import CONF_FOLDER
from miner.config.job import Job
from miner.engine.train import run_alone

TINY = (
    *("image.path=sample:camera", "image.crop_px=40", "patch_size=10", "pyramid.n_levels=2"),
    *("fitting.max_steps=2", "capacity=uniform", "model.width=3", "backend=eager"),
    *("logger=none", "callbacks=[quality_curve,checkpoint,report]", "trainer=cpu"),
    *("fitting.blocks_per_shard=5", "level_selection=per_level"),  # all levels have blocks
)


def composed(*overrides: str) -> DictConfig:
    """The configuration of a run."""
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        compose_once()
        return hydra.compose("config", list(overrides))


def compose(folder: Path, *overrides: str) -> DictConfig:
    """The configuration of a tiny run in a folder."""
    config = composed(*TINY, *overrides)
    OmegaConf.update(config, "paths.output_dir", str(folder))
    return config


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    """The report of a tiny run."""
    folder.mkdir(exist_ok=True)
    return run_alone(compose(folder, *overrides), Job(folder, [*TINY, *overrides], time.time()))


def shards(folder: Path) -> list[str]:
    """Names of the stored shards."""
    return sorted(path.name for path in folder.glob("representation/*.safetensors"))
