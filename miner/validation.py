"""Everything that can be known to be wrong is said before Hydra makes a folder."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from miner.config import CONF_FOLDER, build_settings, check_cuda
from miner.images import ImageError, inspect_image
from miner.schema import ConfigError, check_config, check_lists


class ValidateBeforeStart(Callback):
    """Hydra callback: checks a run and leaves with status 1 and one line for each mistake.

    Hydra turns a callback's exceptions into warnings, but lets `SystemExit` through.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run."""
        with _exit_on_mistakes():
            _check_folder("hydra.run.dir", Path(config.hydra.run.dir), "representation")
            validate(_own_settings(config))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check every job of a sweep before the first begins."""
        with _exit_on_mistakes():
            folder = Path(config.hydra.sweep.dir)
            _check_folder("hydra.sweep.dir", folder, "*/representation")
            task: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
            for overrides in _sweep(task):
                validate(_compose(config.hydra.job.config_name, overrides))


def refuse_null_groups(arguments: Sequence[str]) -> None:
    """Leave with status 1 at `group=null` and the like, where Hydra gives a traceback."""
    groups = {folder.name: folder for folder in CONF_FOLDER.iterdir() if folder.is_dir()}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in groups and value.lower() in ("null", "true", "false"):
            options = sorted(file.stem for file in groups[name].glob("*.yaml"))
            with _exit_on_mistakes():
                raise ConfigError(f"{argument}: must be one of {', '.join(options)}")


@contextmanager
def _exit_on_mistakes() -> Iterator[None]:
    try:
        yield
    except (ConfigError, ImageError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def validate(config: DictConfig) -> None:
    """Check settings, image and device, the quick checks first.

    Raises:
        ConfigError: a setting or the device.
        ImageError: the image file.
    """
    checked = check_config(config)
    info = inspect_image(checked.image.path, checked.image.max_pixels)
    if checked.trainer.accelerator == "cuda":
        check_cuda("trainer.accelerator=cuda", "trainer=cpu or trainer=auto")
    built = build_settings(config)  # from here on torch is needed
    sides = (info.height_px, info.width_px)
    check_lists(checked, built.pyramid.levels_for(sides, checked.patch_size))


def _own_settings(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _sweep(overrides: list[str]) -> Iterator[list[str]]:
    """The overrides of every job of a grid."""
    choices = []
    loader = GlobalHydra.instance().config_loader()  # for glob(*)
    for override in OverridesParser.create(loader).parse_overrides(overrides):
        if override.is_interval_sweep():
            continue  # its values are the sweeper's to find
        if override.is_sweep_override():
            key = override.get_key_element()
            choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            choices.append([str(override.input_line)])
    for job in product(*choices):
        yield list(job)


def _compose(name: str, overrides: list[str]) -> DictConfig:
    try:
        return compose(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        told = str(error).partition("Config search path")[0].split()
        raise ConfigError(" ".join(told)) from error


def _check_folder(setting: str, folder: Path, product: str) -> None:
    if any(folder.glob(product)):
        raise ConfigError(
            f"{setting}={folder}: holds a representation already; "
            "name another folder, or delete that one"
        )
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    try:
        with TemporaryDirectory(dir=existing):  # permission bits say little to root
            pass
    except OSError as error:
        raise ConfigError(
            f"{setting}={folder}: {existing} cannot be written ({error.strerror}); "
            "name another folder"
        ) from error
