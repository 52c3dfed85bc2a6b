"""Resuming a run that was interrupted, or refusing to."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from miner.cli.arguments import is_sweep, quote
from miner.config.fingerprint import differences, fit_identity
from miner.images.source import SAMPLE_PREFIX, file_digest, find_file
from miner.support.errors import ConfigError, RepresentationError
from miner.support.process import say
from miner.support.run_files import PLAN

_RESUME = "resume="
_SOURCES = ("--config-dir", "-cd", "hydra.searchpath=")
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError)
_ADDED_CLASS = re.compile(r"[+~]*((callbacks|logger|metrics)\.([^=]*\.)?)_target_(=|$)")
_NOT_RESUMED = ("trainer.max_time", "trainer.callbacks")


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Replace `resume=FOLDER` by the settings of the run in that folder.

    The other arguments replace these settings: `trainer=cpu` also replaces `trainer.devices=4`.
    Raises `ConfigError` if no run was begun there, or the folder is named twice.
    """
    resumes = [argument for argument in arguments if argument.startswith(_RESUME)]
    if not resumes or is_sweep(arguments):
        return list(arguments)
    given = [argument for argument in arguments if argument not in resumes]
    if len(resumes) > 1 or any(argument.startswith("hydra.run.dir=") for argument in given):
        raise ConfigError(f"{resumes[-1]}: names the run's folder; leave out the other folder")
    folder = Path(resumes[0].removeprefix(_RESUME)).expanduser()
    replaced = {_key(argument) for argument in given}
    settings = [
        setting
        for setting in _stored_settings(folder, given)
        if replaced.isdisjoint([_key(setting), _key(setting).partition(".")[0]])
    ]
    index = arguments.index(resumes[0])  # behind Hydra's flags
    run_dir = f"hydra.run.dir={quote(str(folder))}"
    return [*arguments[:index], *settings, run_dir, *arguments[index + 1 :]]


def check_unchanged(folder: Path, config: DictConfig, device: str) -> None:
    """Refuse, by a `ConfigError`, a run with other settings or a damaged manifest."""
    from miner.representation import REPRESENTATION_FOLDER
    from miner.representation.spec import MANIFEST, Manifest

    stored = folder / REPRESENTATION_FOLDER
    try:
        if not (stored / MANIFEST).exists():
            return
        fit = Manifest.read(stored).fit
    except OSError as error:
        raise ConfigError(f"{stored}: cannot be read ({error.strerror}); name another") from None
    except RepresentationError as error:
        is_outdated = "fit again" in str(error)
        remedy = "" if is_outdated else "; delete this file: its folder's shards are reused"
        raise ConfigError(f"{error}{remedy}") from None
    path = config.image.path
    sha256 = "" if path.startswith(SAMPLE_PREFIX) else file_digest(find_file(path))
    if changed := differences(fit, fit_identity(config, sha256, device)):
        raise ConfigError(
            f"{folder}: holds a run with other settings; name another folder, "
            f"or take them back:\n  " + "\n  ".join(changed)
        )


def _stored_settings(folder: Path, given: Sequence[str]) -> list[str]:
    """The overrides of the run in a folder; none may name a class, which would be called.

    Callbacks and loggers of other classes are left out, as is what has stopped the run.
    """
    run = f"{_RESUME}{folder}"
    if (folder / PLAN).exists():
        raise ConfigError(f"{run}: is a sweep; start it again with hydra.sweep.dir={folder}")
    try:
        stored = yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())["hydra"]
        settings = [str(override) for override in stored["overrides"]["task"]]
        started_in, sources = stored["runtime"]["cwd"], stored["runtime"]["config_sources"]
        added_sources = [one["path"] for one in sources if "command-line" in one["provider"]]
        image = OmegaConf.load(folder / ".hydra" / "config.yaml").image
        files = {"image.path": str(image.path)}
        if mask := image.get("mask"):
            files["image.mask"] = str(mask)
    except (*_UNREADABLE, OmegaConfBaseException):
        remedy = "name the folder of a run, as outputs/2026-01-31/10-00-00-000000"
        raise ConfigError(f"{run}: no run was begun there; {remedy}") from None
    if added_sources and not any(one.startswith(_SOURCES) for one in given):
        given_dir = f"--config-dir={added_sources[0]}"
        raise ConfigError(f"{run}: was started with {given_dir}; give that again, before {run}")
    for name, path in files.items():
        if not path.startswith(SAMPLE_PREFIX):  # a file, which may be named from another folder now
            settings = [setting for setting in settings if _key(setting) != name]
            settings.append(f"{name}={quote(str(Path(started_in, path)))}")
    classes = [found[1] for found in map(_ADDED_CLASS.match, settings) if found]
    kept = [one for one in settings if not _key(one).startswith((*_NOT_RESUMED, *classes))]
    if classes:
        say(f"without {', '.join(sorted(set(settings) - set(kept)))}; to have it, give it again")
    for setting in kept:
        if "_target_" in setting or _key(setting).startswith("hydra"):
            raise ConfigError(
                f"{run}: its setting {setting!r} is not read from a file; start it as it was "
                f"started, with hydra.run.dir={folder}"
            )
    return kept


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
