"""Every option file of every group composes and runs, and so does every whole recipe."""

import math

import pytest
import torch
import yaml
from runs import Fit, read_report

from miner.api import compose_settings
from miner.config import CONF_FOLDER, build_settings
from miner.fitting.sizing import UniformSizing
from miner.images import inspect_image

FILES = sorted((file.parent.name, file.stem) for file in CONF_FOLDER.glob("*/*.yaml"))
IMAGES = [name for group, name in FILES if group == "image"]
RECIPES = [name for group, name in FILES if group == "experiment"]
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
    if group not in ("image", "experiment") and name not in DEFAULTS[group]
]
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA GPU")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes most of a tiny run and depends on no option."""
    monkeypatch.setattr("miner.training.session.draw_pictures", lambda *arguments: None)
    monkeypatch.setattr("miner.training.session.logged_pictures", lambda *arguments: {})


def read_yaml(group: str, name: str) -> dict:
    return yaml.safe_load((CONF_FOLDER / group / f"{name}.yaml").read_text()) or {}


def test_every_default_is_a_file() -> None:
    groups = {group for group, _ in FILES} - {"experiment"}
    assert {(group, name) for group in groups for name in DEFAULTS[group]} <= set(FILES)


def test_all_defaults_run_together(fit: Fit) -> None:
    groups = [f"{group}=[{','.join(names)}]" for group, names in DEFAULTS.items() if names[1:]]
    report = read_report(fit(f"trainer={DEFAULTS['trainer'][0]}", *groups))
    assert math.isfinite(report["psnr_db"])


@pytest.mark.parametrize(
    "option",
    [
        pytest.param(option, marks=[pytest.mark.cuda, NO_GPU] if option == "trainer=cuda" else ())
        for option in OTHERS
    ],
)
def test_option_runs(fit: Fit, option: str) -> None:
    assert math.isfinite(read_report(fit(option))["psnr_db"])


@pytest.mark.parametrize("name", IMAGES)
def test_image_is_there(name: str) -> None:
    image = read_yaml("image", name)
    assert inspect_image(image["path"], image["max_pixels"]).name == name


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_runs_with_overrides_on_top(fit: Fit, recipe: str) -> None:
    folder = fit(f"experiment={recipe}", "fitting.pixels_per_step=20")
    assert math.isfinite(read_report(folder)["psnr_db"])


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_decides_over_the_defaults(recipe: str) -> None:
    composed = compose_settings({"experiment": recipe})
    build_settings(composed)
    for group, fields in read_yaml("experiment", recipe).items():
        if isinstance(fields, dict):
            assert {name: composed[group][name] for name in fields} == fields
        elif group != "defaults":
            assert composed[group] == fields


@pytest.mark.parametrize("recipe", ["miner_pl", "miner_pl_pluto", "paper"])
def test_recipe_of_others_has_networks_of_one_width_and_one_bound(recipe: str) -> None:
    settings = build_settings(compose_settings({"experiment": recipe}))
    assert settings.sizing == UniformSizing()
    assert settings.max_mse_at(0) == settings.max_mse_at(3)
