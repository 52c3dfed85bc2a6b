"""Every option file of every group composes and runs, and so does every experiment."""

import math
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.types import RunMode
from runs import Compose, Fit, read_report

from miner.api import compose_settings
from miner.cli.sweep import JobGrid, compose_once
from miner.config.build import CONF_FOLDER, build_settings, check_classes
from miner.config.fingerprint import job_hash
from miner.config.schema import check_config
from miner.fitting.capacity import UniformCapacity
from miner.fitting.selection import PerLevelSelection
from miner.images.source import inspect_image
from miner.support.errors import ConfigError

FILES = sorted((file.parent.name, file.stem) for file in CONF_FOLDER.glob("*/*.yaml"))
IMAGES = [name for group, name in FILES if group == "image"]
EXPERIMENTS = [name for group, name in FILES if group == "experiment"]
ABLATIONS = sorted(file.stem for file in (CONF_FOLDER / "experiment" / "ablation").glob("*.yaml"))
ABLATIONS.remove("base")  # what the others share
_LISTED = yaml.safe_load((CONF_FOLDER / "config.yaml").read_text())["defaults"]
DEFAULTS = {
    group: option if isinstance(option, list) else [option]
    for entry in _LISTED
    if isinstance(entry, dict)
    for group, option in entry.items()
}
OTHERS = [
    f"{group}={name}"
    for group, name in FILES
    if group not in ("image", "method", "experiment") and name not in DEFAULTS[group]
]
OTHERS.remove("trainer=ddp")  # starts further processes: test_ddp.py
CALLBACKS = [option for option in OTHERS if option.startswith("callbacks=")]  # one, no report
QUICK = ("callbacks=report", "callbacks=checkpoint", "selection")  # of similar tests
UNINSTALLED = ["logger=mlflow", "logger=comet"]
TOGETHER = (
    *("activation", "encoding", "loss", "optimizer", "readout", "schedule", "storage"),
    *("objective", "pruning", "pyramid", "weights"),
)
_BY_GROUP = [[option for option in OTHERS if option.startswith(f"{g}=")] for g in TOGETHER]
RUNS = [  # options that do not depend on each other share a run
    *(" ".join(filter(None, options)) for options in zip_longest(*_BY_GROUP)),
    *(o for o in OTHERS if o.partition("=")[0] not in TOGETHER and o not in CALLBACKS),
]
QUESTIONS = {  # an ablation: what it compares
    "activation": ["activation", "encoding"],
    "optimizer": ["fitting.max_mse", "optimizer", "pruning"],
    "pyramid": ["level_selection.coarse_ratio", "pyramid"],
    "selection": ["level_selection", "pyramid"],
    "weights": ["pyramid", "weights"],
}
SIZES = {"selection": {"fitting.max_mse"}}  # what an ablation varies, by default readout and width
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA GPU")


def read_yaml(group: str, name: str) -> dict:
    return yaml.safe_load((CONF_FOLDER / group / f"{name}.yaml").read_text()) or {}


def test_all_defaults_run_in_one_configuration(fit: Fit) -> None:
    groups = [f"{group}=[{','.join(names)}]" for group, names in DEFAULTS.items() if names[1:]]
    report = read_report(fit(f"trainer={DEFAULTS['trainer'][0]}", *groups))
    assert math.isfinite(report["psnr_db"])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, marks=[pytest.mark.cuda, NO_GPU] if options == "trainer=cuda" else ())
        for options in RUNS
        if options not in UNINSTALLED
    ],
)
def test_options_run(fit: Fit, options: str) -> None:
    assert math.isfinite(read_report(fit(*options.split()))["psnr_db"])


def mostly_slow(names: list[str]) -> list[Any]:
    return [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in names]


@pytest.mark.parametrize("option", mostly_slow(CALLBACKS))
def test_callbacks_run_alone(fit: Fit, option: str) -> None:
    assert (fit(option) / "report.json").exists() == (option == "callbacks=report")


@pytest.mark.parametrize("option", UNINSTALLED)
def test_loggers_of_other_packages_are_refused_with_the_line_that_installs_them(
    tiny_config: Compose, option: str
) -> None:
    with pytest.raises(ConfigError, match=r"^logger\.\w+: needs .*; pip install "):
        check_classes(tiny_config(option))


@pytest.mark.parametrize("name", IMAGES)
def test_image_exists(name: str) -> None:
    image = read_yaml("image", name)
    assert inspect_image(image["path"], image["max_pixels"]).name == name


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_overrides_the_defaults_and_runs(fit: Fit, experiment: str) -> None:
    composed = compose_settings({"experiment": experiment})
    for group, fields in read_yaml("experiment", experiment).items():
        if group in ("defaults", "hydra"):
            continue
        if isinstance(fields, dict):
            assert {name: composed[group][name] for name in fields} == fields
        else:
            assert composed[group] == fields
    folder = fit(f"experiment={experiment}", "fitting.batch_pixels=20")
    assert math.isfinite(read_report(folder)["psnr_db"])


@pytest.mark.parametrize("experiment", ["miner_pl", "miner_pl_pluto", "paper"])
def test_experiment_of_others_has_networks_of_one_width_and_one_bound(experiment: str) -> None:
    settings = build_settings(compose_settings({"experiment": experiment}))
    assert settings.capacity == UniformCapacity()
    assert settings.level_selection == PerLevelSelection(1.0)


@pytest.mark.parametrize("preset", ["balanced", "quality", "paper"])
def test_a_target_is_the_bound_whatever_the_recipe_has(preset: str) -> None:
    settings = {"experiment": preset, "fitting.target_psnr": 45}
    assert build_settings(compose_settings(settings)).max_mse == pytest.approx(10**-4.5)


@pytest.fixture
def ablation_grid() -> Iterator[Callable[[str], JobGrid]]:
    """The grid that Hydra's sweeper would run for an ablation."""

    def grid(name: str) -> JobGrid:
        experiment = f"experiment=ablation/{name}"
        composed = compose("config", [experiment], return_hydra_config=True).hydra
        assert composed.mode == RunMode.MULTIRUN
        swept = [f"{key}={values}" for key, values in composed.sweeper.params.items()]
        return JobGrid("config", [*swept, experiment])

    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        compose_once()
        yield grid


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablation_has_enough_images_seeds_and_widths(
    ablation_grid: Callable[[str], JobGrid], name: str
) -> None:
    values = {key: len(set(listed)) for key, listed in ablation_grid(name).choices.items()}
    assert values["image"] >= 6 and values["seed"] >= 3
    sizes = SIZES.get(name, {"readout", "model.width"})
    assert math.prod(values[key] for key in sizes) >= 3
    assert all(values[key] >= 2 for key in (*QUESTIONS[name], *sizes))
    assert QUESTIONS.keys() == set(ABLATIONS)
    assert values.keys() == {"experiment", "image", "seed", *sizes, *QUESTIONS[name]}


@pytest.mark.parametrize("name", mostly_slow(ABLATIONS))
def test_jobs_of_an_ablation_compose_and_differ(
    ablation_grid: Callable[[str], JobGrid], name: str
) -> None:
    grid = ablation_grid(name)
    hashes = [job_hash(config) for _, config in grid.single_changes() if check_config(config)]
    n_jobs = 1 + sum(len(values) - 1 for values in grid.choices.values())
    assert len(set(hashes)) == len(hashes) == n_jobs
