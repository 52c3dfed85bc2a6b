"""One line for what Hydra refuses, with the nearest name where a name is unknown."""

import re

from hydra.errors import ConfigCompositionException, OverrideParseException, SearchPathException

from miner.cli.help import default_options, option_files, settings_of
from miner.config.schema import COMPONENTS, new_name, no_such_setting
from miner.support.errors import nearest

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


def explain(error: Exception) -> str:
    """What is wrong with an override, or with a file of the configuration, and the remedy."""
    text = str(error) or str(error.__cause__)
    if isinstance(error, OverrideParseException):
        return _explain_syntax(error.override)
    if found := re.search(r"Could not find '(.+)'", text):
        return _explain_option(found[1], text)
    if found := re.search(r"Could not override '(.+)'\.(?:\n.*\+\1=(.*))?", text):
        return _explain_setting(found[1], found[2])
    if found := re.search(r"Could not delete from config\. '(.+)' does not exist", text):
        return f"~{found[1]}: {no_such_setting(found[1], _names())}"
    if found := re.search(r"already at '(.+)'|Multiple values for (\S+)\.", text):
        name = found[1] or found[2]
        return f"+{name}: {name} exists; leave out the +"
    if found := re.search(r"Ambiguous value for argument '(.+)'|parameters '(.+)' requires", text):
        given = found[1] or found[2]
        return f"{given}: several values take a sweep, -m; write a list as [a,b], a text as 'a,b'"
    reason = "" if text is str(error.__cause__) else str(error.__cause__ or "").partition("\n")[0]
    return " ".join(f"{text.partition('Config search path')[0]} {reason}".split())


def _explain_syntax(override: str) -> str:
    if "=" not in override:
        return f"{override}: is no file, and no setting with a value, as name=value"
    return f"{override}: cannot be read; quote a value with special characters, as \"name='a (b)'\""


def _explain_option(path: str, text: str) -> str:
    """Hydra lists the options of the group in which it has looked for a path."""
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
    if listed:
        options += [name for name in listed[2].split() if name not in options]
    near = nearest(option, options)
    hint = f"did you mean {near}? " if near else ""
    return f"{line}: there is no such option; {hint}must be one of {', '.join(options)}"


def _explain_setting(name: str, value: str | None) -> str:
    line = f"{name}={value}" if value is not None else name
    names = _names()
    group = name.rpartition(".")[0]
    if name in names and group:
        return f"{line}: the chosen {group} has no such setting"
    answer = no_such_setting(line, names)
    if "--help" in answer and name.partition(".")[0] in (*COMPONENTS, "optimizer", "logger"):
        answer = f"no option of {name.partition('.')[0]} has it; +{line} if the class takes it"
    return f"{line}: {answer}"


def _names() -> list[str]:
    """Every group and setting of the files, and of Hydra what people set."""
    groups = default_options()
    found = [one.name for group in ("", *groups) for one in settings_of(group)]
    return [*groups, *found, *(name.rpartition(".")[0] for name in found), *_OF_HYDRA]
