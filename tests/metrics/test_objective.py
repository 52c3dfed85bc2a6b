"""The number that a search maximises, by hand."""

import math

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from miner.config.build import CONF_FOLDER, build_objective
from miner.config.schema import check_config
from miner.metrics.objective import Objective, Quality, QualityAtBudget
from miner.support.errors import ConfigError

REPORT = {
    "psnr_db": 40.0,
    "n_parameters": 1000,
    "parameters_per_pixel": 0.8,
    "file_bytes": 4000,
    "bits_per_pixel": 8.0,
    "fit_time_s": 2.5,
}


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        return compose("config", overrides=list(overrides))


@pytest.mark.parametrize("objective", [Quality(), QualityAtBudget("bits_per_pixel", 1.0)])
def test_perfect_reconstruction_is_beyond_any_price(objective: Objective) -> None:
    assert objective.value(REPORT | {"psnr_db": None}) == math.inf


@pytest.mark.parametrize(
    ("cost", "budget", "value"),
    [
        ("parameters_per_pixel", 0.8, 40.0),  # just within
        ("parameters_per_pixel", 0.1, 4.0),  # eight times
        ("parameters_per_pixel", 1.6, 40.0),  # what is left earns nothing
        ("n_parameters", 500, 28.0),
        ("file_bytes", 1000, 16.0),
        ("bits_per_pixel", 4.0, 28.0),
        ("fit_time_s", 5.0, 40.0),
        ("fit_time_s", 2.5 / math.sqrt(2), 34.0),  # half a doubling
    ],
)
def test_every_doubling_over_the_budget_costs_12_db(cost: str, budget: float, value: float) -> None:
    assert QualityAtBudget(cost, budget).value(REPORT) == pytest.approx(value)


def test_penalty_is_a_setting_and_the_cost_a_number_of_the_report() -> None:
    assert QualityAtBudget("bits_per_pixel", 2.0, db_per_doubling=3.0).value(REPORT) == 34.0
    with pytest.raises(ValueError, match=r"objective\.cost=nonsense: must be one of n_parameters"):
        QualityAtBudget("nonsense", 1.0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("psnr", 40.0),
        ("psnr_at_parameters", 28.0),  # 0.8 where 0.4 are allowed
        ("psnr_at_bits", 28.0),  # 8 where 4 are allowed
        ("psnr_at_seconds", 40.0),  # 2.5 of 5
    ],
)
def test_options_mean_what_their_names_say(option: str, value: float) -> None:
    objective = build_objective(composed(f"objective={option}"))
    assert objective.value(REPORT) == pytest.approx(value)


@pytest.mark.parametrize("wrong", ["objective.budget=0", "objective.db_per_doubling=-1"])
def test_wrong_number_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"{wrong}: must be a number above 0"):
        check_config(composed("objective=psnr_at_bits", wrong))


def test_class_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be a subclass of .*\.Objective"):
        build_objective(composed("objective._target_=miner.pyramids.GaussianPyramid"))
