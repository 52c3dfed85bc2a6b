"""A sweep is checked whole, and each of its jobs once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, read_write

from miner.cli.sweep import check_sweep
from miner.config.build import CONF_FOLDER
from miner.metrics.objective import Objective
from miner.support.errors import ConfigError

JOBS = ("pyramid=gaussian,laplacian", "seed=0,1,2", "logger=none", "image=camera")


class Counting(Objective):
    """An objective that counts how often it is built: once for each check of a job."""

    n_built: ClassVar[int] = 0

    def __init__(self) -> None:
        """Count."""
        type(self).n_built += 1

    def value(self, report: Mapping[str, Any]) -> float:
        """Nothing is run."""
        raise NotImplementedError


def sweep_config(folder: Path, *overrides: str) -> DictConfig:
    """What Hydra gives its callbacks before a sweep of some overrides starts."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        config = compose("config", [f"hydra.sweep.dir={folder}/sweep"], return_hydra_config=True)
        with read_write(config):
            config.hydra.job.config_name = "config"
            config.hydra.overrides.task = list(overrides)
    return config


def test_each_job_is_checked_once(tmp_path: Path) -> None:
    counting = f"objective={{_target_: {__name__}.Counting}}"
    config = sweep_config(tmp_path, *JOBS, counting)
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        plan = check_sweep(config)
    assert plan is not None
    assert len(plan.jobs) == Counting.n_built == 6


def test_wrong_job_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, *JOBS, "patch_size=8,0")
    with (
        initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)),
        pytest.raises(ConfigError, match=r"^patch_size=0: must be from 2"),
    ):
        check_sweep(config)
    assert list(tmp_path.iterdir()) == []
