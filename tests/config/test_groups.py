"""The groups that set values of other groups, the machine's own settings, and a run's folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, read_write

from miner.cli.help import config_tree
from miner.config.build import CONF_FOLDER
from miner.config.schema import check_config


@pytest.fixture(autouse=True)
def initialized() -> Iterator[None]:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        yield


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("default", {}),
        ("fdr", {"trainer.fast_dev_run": 1}),
        ("limit", {"image.crop_px": 64}),
        ("profiler", {"trainer.profiler": "simple"}),
    ],
)
def test_debugging_takes_few_steps_without_a_logger(option: str, change: dict[str, object]) -> None:
    overrides = ["experiment=fast", f"debug={option}"]
    config = compose("config", overrides, return_hydra_config=True)
    assert (config.fitting.max_steps, config.logger, config.task_name) == (10, {}, "debug")
    assert config.hydra.job_logging.root.level == "DEBUG"
    assert {name: OmegaConf.select(config, name) for name in change} == change


def test_settings_of_the_machine_are_between_an_experiment_and_the_command(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    own = "# @package _global_\npatch_size: 24\nseed: 3\n"
    (tmp_path / "local" / "default.yaml").write_text(own)
    found = f"hydra.searchpath=['file://{tmp_path}']"
    config = compose("config", [found, "experiment=fast", "seed=4"])
    assert (config.patch_size, config.seed) == (24, 4)
    assert compose("config", [found, "~local"]).patch_size == 32


def test_folder_of_the_run_is_known_once_hydra_has_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    config = compose("config", return_hydra_config=True)
    assert config.paths.output_dir == "."
    HydraConfig.instance().set_config(config)
    assert config.paths.output_dir == "."
    with read_write(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(tmp_path)
    HydraConfig.instance().set_config(config)
    assert config.paths.output_dir == str(tmp_path)


def test_folders_of_runs_and_sweeps_are_below_the_folder_of_all() -> None:
    config = compose("config", ["paths.log_dir=/disk"], return_hydra_config=True)
    assert config.hydra.run.dir.startswith("/disk/")
    assert config.hydra.sweep.dir.startswith("/disk/multirun/")


def test_tree_has_a_branch_for_each_group() -> None:
    config = compose("config", ["logger=none"])
    check_config(config)
    branches = {str(branch.label): branch.children for branch in config_tree(config).children}
    assert "lr: 0.02" in str(branches["optimizer"][0].label)
    assert branches["seed: 0"] == []
    assert len(branches) == len(config)
