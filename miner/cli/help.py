"""What `--help` prints of `conf/`, and one line for what Hydra refuses, with the nearest name."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import ConfigCompositionException, OverrideParseException, SearchPathException

from miner.config.build import CONF_FOLDER
from miner.config.schema import new_name, no_such_setting
from miner.support.errors import nearest

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

REFUSED_BY_HYDRA = (ConfigCompositionException, OverrideParseException, SearchPathException)
_OF_HYDRA = (
    *("hydra/launcher", "hydra/sweeper", "hydra.sweeper.max_batch_size", "hydra.sweeper.n_trials"),
    *("hydra.launcher.n_jobs", "hydra.job_logging", "hydra.searchpath", "hydra.verbose"),
    *("hydra.run.dir", "hydra.sweep.dir"),
)
_EXTRAS = {  # options of Hydra's plug-ins, and the extras that install them
    "hydra/launcher/ray": "ray",
    "hydra/launcher/submitit_local": "submitit",
    "hydra/launcher/submitit_slurm": "submitit",
    "hydra/sweeper/optuna": "optuna",
}


@lru_cache
def default_options() -> dict[str, str | None]:
    """Groups in the order of `config.yaml`, each with its default option: of several the first."""
    defaults: list[Any] = yaml.safe_load(CONFIG_FILE.read_text())["defaults"]
    options = dict(item for entry in defaults if isinstance(entry, dict) for item in entry.items())
    known = {group: option for group, option in options.items() if (CONF_FOLDER / group).is_dir()}
    return {group: one[0] if isinstance(one, list) else one for group, one in known.items()}


def option_files(group: str) -> dict[str, Path]:
    """A group's options by name, its default first."""
    folder, default = CONF_FOLDER / group, default_options().get(group)
    files = {str(f.relative_to(folder).with_suffix("")): f for f in sorted(folder.rglob("*.yaml"))}
    return dict(sorted(files.items(), key=lambda item: item[0] != default))


def settings_of(group: str) -> dict[str, tuple[str, str]]:
    """Default, as written, and meaning of each own setting of a group, of `config.yaml` for ""."""
    found: dict[str, tuple[str, str]] = {}
    for file in option_files(group).values() if group else [CONFIG_FILE]:
        text = file.read_text()
        lines = () if "# @package _global_" in text else text.splitlines()
        parents: list[str] = []
        for line in filter(None, map(LINE.match, lines)):
            parents = [*parents[: len(line["indent"]) // 2], line["name"]]
            is_own = parents[0] not in ("defaults", "hydra") and not line["name"].startswith("_")
            if line["value"] and is_own:
                name = ".".join([group, *parents] if group else parents)
                found.setdefault(name, (line["value"], line["comment"] or ""))
    return found


def help_text(folders: Sequence[Path] = ()) -> str:
    """Every group with its options, those of `--config-dir` folders too, and every setting."""
    parts = [_HEAD]
    for group in ("", *default_options()):
        more = [file.stem for folder in folders for file in sorted((folder / group).glob("*.yaml"))]
        parts += ["", f"{group}: {', '.join([*option_files(group), *more])}"] if group else []
        for name, (default, meaning) in settings_of(group).items():
            parts.append(f"  {f'{name}={default}':40} {meaning}".rstrip())
    return "\n".join(parts)


def explain(error: Exception) -> str:
    """What is wrong with an override, or with a file of the configuration, and the remedy."""
    text = str(error) or str(error.__cause__)
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return f"{error.override}: is no file, and no setting with a value, as name=value"
        remedy = "quote a value with special characters, as \"name='a (b)'\""
        return f"{error.override}: cannot be read; {remedy}"
    if found := re.search(r"Could not (?:find|load) '(.+)'", text):
        return _explain_option(found[1], text)
    if found := re.search(r"Could not override '(.+)'\.(?:\n.*\+\1=(.*))?", text):
        return _explain_setting(found[1], found[2])
    if found := re.search(r"Could not delete from config\. '(.+)' does not exist", text):
        return f"~{found[1]}: {no_such_setting(found[1], _names())}"
    if found := re.search(r"(?:already at '|Multiple values for )([^\s']+)['.]", text):
        return f"+{found[1]}: {found[1]} exists; leave out the +"
    if found := re.search(r"(?:Ambiguous value for argument|parameters) '(.+)'", text):
        remedy = "write a list as [a,b], a text as 'a,b'"
        return f"{found[1]}: several values take a sweep, -m; {remedy}"
    reason = "" if text is str(error.__cause__) else str(error.__cause__ or "").partition("\n")[0]
    return " ".join(f"{text.partition('Config search path')[0]} {reason}".split())


def _explain_option(path: str, text: str) -> str:
    listed = re.search(r"Available options in '(.+)':\n((?:\t.+\n?)+)", text)
    group = listed[1] if listed else path.rpartition("/")[0]
    option = path.removeprefix(f"{group}/")
    line = f"{group}={option}"
    if path in _EXTRAS:
        return f"{line}: is not installed; pip install -e '.[{_EXTRAS[path]}]'"
    if renamed := new_name(line):
        return f"{line}: is now {renamed}"
    if path.startswith("image/") and {"/", "."} & set(option):
        return f"{line}: is the name of no sample; use image.path={option}"
    options = [*option_files(group)] if group in default_options() else []
    options = list(dict.fromkeys([*options, *(listed[2].split() if listed else ())]))
    near = nearest(option, options)
    hint = f"did you mean {near}? " if near else ""
    return f"{line}: there is no such option; {hint}must be one of {', '.join(options)}"


def _explain_setting(name: str, value: str | None) -> str:
    line, group = name if value is None else f"{name}={value}", name.rpartition(".")[0]
    if group and name in _names():
        return f"{line}: the chosen {group} has no such setting"
    return f"{line}: {no_such_setting(line, _names())}"


def _names() -> list[str]:
    groups = default_options()
    found = [name for group in ("", *groups) for name in settings_of(group)]
    return [*groups, *found, *(name.rpartition(".")[0] for name in found), *_OF_HYDRA]
