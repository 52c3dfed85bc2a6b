"""What a run writes into its folder: nothing else under these names is overwritten or removed."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from miner.config.build import callback_names
from miner.engine.disk_space import scratch_folder
from miner.support.components import find_class
from miner.support.errors import ConfigError
from miner.support.run_files import REPORT, check_own

LOGS = ("run.log", "machine*-process*.log")
"""Of a single run; those of jobs are Hydra's."""


def check_files(config: DictConfig, folder: Path) -> None:
    """Refuse, by a `ConfigError`, a run that would overwrite what was not made by it.

    The folders of Hydra and of loggers are theirs.
    """
    config = config.copy()
    config.paths.output_dir = str(folder.absolute())  # as in the run
    check_own(folder, [REPORT, *first_files(config, folder), *_of_callbacks(config)])


def first_files(config: DictConfig, folder: Path) -> set[str]:
    """What is made before the callbacks make theirs: names and patterns in the run's folder."""
    scratch_folders = (scratch_folder(one, folder) for one in (None, config.fitting.scratch_dir))
    return {glob.escape(os.path.relpath(one, folder)) for one in scratch_folders}


def _of_callbacks(config: DictConfig) -> Iterator[str]:
    for name in callback_names(config):
        settings = OmegaConf.select(config, name)
        files = getattr(find_class(settings), "files", ())
        if files and Path(settings.dirpath).absolute() != Path(config.paths.output_dir):
            rule = "must be the run's folder, which lists its files; name that with hydra.run.dir"
            raise ConfigError(f"{name}.dirpath={settings.dirpath}: {rule}")
        yield from files
