"""Taking up a run that was interrupted, or refusing to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig

from miner.cli.arguments import SWEEP_FLAGS, quote
from miner.config.fingerprint import differences, fit_identity
from miner.images import SAMPLE_PREFIX, file_digest
from miner.images.files import find_file
from miner.support.errors import ConfigError
from miner.support.run_files import PLAN

if TYPE_CHECKING:
    from miner.representation import Manifest

_KEY = "resume="


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Replace `resume=FOLDER` by the settings of the run in that folder.

    What is given beside it comes on top: `trainer=cpu` also in the place of `trainer.devices=4`.

    Raises:
        ConfigError: no run was begun there, or the folder is named twice.
    """
    asked = [argument for argument in arguments if argument.startswith(_KEY)]
    if not asked or any(argument in SWEEP_FLAGS for argument in arguments):
        return list(arguments)
    given = [argument for argument in arguments if argument not in asked]
    if len(asked) > 1 or any(argument.startswith("hydra.run.dir=") for argument in given):
        raise ConfigError(f"{asked[-1]}: names the run's folder; leave out the other folder")
    folder = Path(asked[0].removeprefix(_KEY)).expanduser()
    taken = {_key(argument) for argument in given}
    settings = [
        setting
        for setting in _plain_settings(folder)
        if not {_key(setting), _key(setting).partition(".")[0]} & taken
    ]
    # in the place of what was asked: options such as --cfg must not come between overrides
    place = arguments.index(asked[0])
    run = [*settings, f"hydra.run.dir={quote(str(folder))}"]
    return [*arguments[:place], *run, *arguments[place + 1 :]]


def check_unchanged(folder: Path, config: DictConfig, device: str) -> None:
    """Refuse to go on in a folder whose representation was made with other settings.

    Raises:
        ConfigError: what differs, or a damaged manifest.
    """
    manifest = _manifest(folder)
    if manifest is None:
        return
    path = config.image.path
    sha256 = "" if path.startswith(SAMPLE_PREFIX) else file_digest(find_file(path))
    changed = differences(manifest.fit, fit_identity(config, sha256, device))
    if changed:
        raise ConfigError(
            f"{folder}: holds a run with other settings; name another folder, "
            f"or take them back:\n  " + "\n  ".join(changed)
        )


def _settings_of(folder: Path) -> list[str]:
    """The overrides of the run in a folder; its image as an absolute path."""
    if (folder / PLAN).exists():
        raise ConfigError(
            f"{_KEY}{folder}: is a sweep; start it again with hydra.sweep.dir={folder}"
        )
    manifest = _manifest(folder)
    if manifest is not None:
        overrides: list[str] = manifest.fit["overrides"]
        path = manifest.fit["image"]["path"]
        if path.startswith(SAMPLE_PREFIX):
            return overrides
        others = [override for override in overrides if _key(override) != "image.path"]
        return [*others, f"image.path={quote(path)}"]
    return _first_overrides(folder)


def _plain_settings(folder: Path) -> list[str]:
    """A file names no class: only who types a command says what is called.

    Raises:
        ConfigError: a setting does.
    """
    settings = _settings_of(folder)
    for setting in settings:
        if "_target_" in setting or _key(setting).startswith("hydra"):
            raise ConfigError(
                f"{_KEY}{folder}: its setting {setting!r} is not taken from a file; start it as it "
                f"was started, with hydra.run.dir={folder}"
            )
    return settings


def _first_overrides(folder: Path) -> list[str]:
    """What Hydra wrote down, of a run that was stopped before it had a manifest."""
    try:
        overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError):
        overrides = None
    if not isinstance(overrides, list):
        raise ConfigError(
            f"{_KEY}{folder}: no run was begun there; start one with hydra.run.dir={folder}"
        )
    return [str(override) for override in overrides]


def _manifest(folder: Path) -> "Manifest | None":
    from miner.representation import MANIFEST, REPRESENTATION_FOLDER, read_manifest
    from miner.support.errors import RepresentationError

    path = folder / REPRESENTATION_FOLDER
    try:
        if not (path / MANIFEST).exists():
            return None
        manifest = read_manifest(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name another") from None
    except RepresentationError as error:
        raise ConfigError(
            f"{error}; delete this file: the shards beside it are taken up again"
        ) from None
    if not _is_of_a_run(manifest.fit):
        raise ConfigError(f"{path}: was saved by hand and not by a run; name another folder")
    return manifest


def _is_of_a_run(fit: Mapping[str, Any]) -> bool:
    kinds = {"settings": dict, "image": dict, "device": str, "overrides": list}
    return all(isinstance(fit.get(name), kind) for name, kind in kinds.items()) and all(
        isinstance(text, str)
        for text in (fit["image"].get("path"), fit["image"].get("sha256"), *fit["overrides"])
    )


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")
