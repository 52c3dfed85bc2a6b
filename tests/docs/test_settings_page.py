"""The page of settings names all options and settings, with their rules."""

import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from miner.config.build import CONF_FOLDER
from miner.config.trainer import REFUSED

HOOK = Path(__file__).parents[2] / "docs" / "settings_page.py"


@pytest.fixture(scope="module")
def page() -> str:
    return runpy.run_path(str(HOOK))["settings_page"]()


def leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield prefix + name


def test_every_default_setting_is_on_the_page(page: str) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        config: Any = OmegaConf.to_container(compose("config"), resolve=True)
    names = list(leaves(config))
    assert len(names) > 40
    assert [name for name in names if f"| `{name}` |" not in page] == []


def test_every_option_is_on_the_page(page: str) -> None:
    groups = [folder for folder in CONF_FOLDER.iterdir() if folder.is_dir()]
    options = [
        f"{group.name}={file.relative_to(group).with_suffix('')}"
        for group in groups
        if group.name != "hydra"
        for file in group.rglob("*.yaml")
    ]
    assert len(options) > 60
    assert [option for option in options if f"`{option}`" not in page] == []


def test_settings_have_their_rules_and_refused_arguments_their_reasons(page: str) -> None:
    rows = set(page.splitlines())
    (row,) = [row for row in rows if row.startswith("| `patch_size` | `32` |")]
    assert "must be from 2 to 512 pixels" in row
    assert any(row.startswith("| `activation.omega` ") and "above 0" in row for row in rows)
    refused = {f"| `trainer.{name}` | {reason} |" for name, reason in REFUSED.items()}
    assert len(refused) > 20 and refused <= rows
