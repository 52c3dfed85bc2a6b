"""`scripts/wandb_sweep.yaml`: what an agent of W&B makes of it is a command that runs."""

from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from runs import ROOT
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from miner.config.build import CONF_FOLDER
from miner.config.schema import check_config

SWEEP = yaml.safe_load((ROOT / "scripts" / "wandb_sweep.yaml").read_text())
Draw = dict[str, Any]


def draws() -> list[Draw]:
    """Draws that have, between them, every listed value and both ends of every range."""
    listed = {
        name: parameter.get("values") or [parameter["min"], parameter["max"]]
        for name, parameter in SWEEP["parameters"].items()
    }
    n_draws = max(map(len, listed.values()))
    return [
        {name: values[n % len(values)] for name, values in listed.items()} for n in range(n_draws)
    ]


def command_of(draw: Draw) -> list[str]:
    """The command that an agent starts for a draw."""
    arguments = {name: {"value": value} for name, value in draw.items()}
    known = create_sweep_command_args({"args": arguments})
    known |= {"env": ["/usr/bin/env"], "interpreter": ["python"]}
    words: list[str] = []
    for word in create_sweep_command(list(SWEEP["command"])):
        words += known[word[2:-1]] if word.startswith("${") else [word]
    return words


@pytest.mark.parametrize("draw", draws())
def test_agent_calls_the_command_with_settings_that_are_valid(draw: Draw) -> None:
    words = command_of(draw)
    assert words[:4] == ["/usr/bin/env", "python", "-m", "miner.run"]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        config = compose("config", overrides=words[4:], return_hydra_config=True)
        assert set(config.hydra.overrides.task) == set(words[4:])
        del config.hydra
    checked = check_config(config)
    assert (checked.patch_size, checked.model.width) == (draw["patch_size"], draw["model.width"])
    assert not checked.logger.wandb.offline


def test_search_is_for_the_number_that_a_run_reports_within_ranges() -> None:
    assert SWEEP["metric"] == {"name": "objective", "goal": "maximize"}
    assert "objective=psnr_at_parameters" in SWEEP["command"]
    ranges = [one for one in SWEEP["parameters"].values() if "values" not in one]
    assert all(0 < one["min"] < one["max"] for one in ranges)
    assert {one["distribution"] for one in ranges} == {"int_uniform", "log_uniform_values"}
