"""What `--help` prints: the groups, options and settings of `conf/` with their comments."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from omegaconf import DictConfig, OmegaConf
from rich.text import Text
from rich.tree import Tree

from miner.config.build import CONF_FOLDER

CONFIG_FILE = CONF_FOLDER / "config.yaml"
LINE = re.compile(r"^(?P<indent> *)(?P<name>\w+): *(?P<value>[^#]*?)(?: *# (?P<comment>.*))?$")
_HEAD = """\
MINER fits an image with a pyramid of small patches, each with a tiny network.

  python -m miner.run photo.jpg                          fit your image
  python -m miner.run -m pyramid=gaussian,laplacian      compare settings
  python -m miner.run -m image.path=photos/              fit every image in a folder
  python -m miner.run pyramid=laplacian --cfg job        show what would be run
  python -m miner.run resume=FOLDER                      go on where a run was stopped
  python -m miner                                        list the other commands
  eval "$(miner-run -sc install=bash)"                   tab completion of miner-run

name=value sets a setting. group=option chooses a part: the options of each group are listed, its
default first. Sweeps are explained in docs/how-to/sweeps.md, Hydra's own flags by --hydra-help.
"""


class Setting(NamedTuple):
    """A setting with its default value as written, and its explanation."""

    name: str
    default: str
    comment: str


@lru_cache
def default_options() -> dict[str, str | None]:
    """Groups in the order of `config.yaml`, each with its default option: of several the first."""
    options: dict[str, str | None] = {}
    defaults: list[Any] = yaml.safe_load(CONFIG_FILE.read_text())["defaults"]
    for entry in defaults:
        ((group, option),) = entry.items() if isinstance(entry, dict) else [("_self_", None)]
        if (CONF_FOLDER / group).is_dir():
            options[group] = option[0] if isinstance(option, list) else option
    return options


def option_files(group: str) -> dict[str, Path]:
    """A group's options by name, its default first."""
    folder, default = CONF_FOLDER / group, default_options().get(group)
    files = {str(f.relative_to(folder).with_suffix("")): f for f in sorted(folder.rglob("*.yaml"))}
    return dict(sorted(files.items(), key=lambda item: item[0] != default))


def settings_of(group: str) -> list[Setting]:
    """The settings of all options of a group, or of `config.yaml` itself for the group "".

    None if its options set those of other groups.
    """
    found: dict[str, Setting] = {}
    for file in option_files(group).values() if group else [CONFIG_FILE]:
        text = file.read_text()
        lines = () if "# @package _global_" in text else text.splitlines()
        parents: list[str] = []
        for line in filter(None, map(LINE.match, lines)):
            parents = [*parents[: len(line["indent"]) // 2], line["name"]]
            is_own = parents[0] not in ("defaults", "hydra") and not line["name"].startswith("_")
            if line["value"] and is_own:
                name = ".".join([group, *parents] if group else parents)
                found.setdefault(name, Setting(name, line["value"], line["comment"] or ""))
    return list(found.values())


def help_text(folders: Sequence[Path] = ()) -> str:
    """Every group with its options, and every setting with its default and explanation.

    `folders` are those of `--config-dir`, whose options are listed too.
    """
    parts = [_HEAD, *map(_line, settings_of(""))]
    for group in default_options():
        more = [file.stem for folder in folders for file in sorted((folder / group).glob("*.yaml"))]
        parts += ["", f"{group}: {', '.join([*option_files(group), *more])}"]
        parts += map(_line, settings_of(group))
    return "\n".join(parts)


def config_tree(config: DictConfig) -> Tree:
    """A composed configuration as a tree: a branch for each group."""
    tree = Tree("settings")
    for name, value in config.items():
        if OmegaConf.is_dict(value) and value:
            tree.add(Text(str(name))).add(Text(OmegaConf.to_yaml(value, resolve=True).rstrip()))
        else:
            tree.add(Text(f"{name!s}: {value}"))
    return tree


def _line(setting: Setting) -> str:
    return f"  {setting.name + '=' + setting.default:40} {setting.comment}".rstrip()
