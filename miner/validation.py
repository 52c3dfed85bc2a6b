"""Everything that can be known to be wrong is said before Hydra makes a folder."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from miner.config import build_settings
from miner.images import ImageError, inspect_image
from miner.schema import ConfigError, check_config, check_lists


class ValidateBeforeStart(Callback):
    """Hydra callback: checks a run and leaves with status 1 and one line for each mistake.

    Hydra turns a callback's exceptions into warnings, but lets `SystemExit` through.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check a single run."""
        _check_or_exit(config, Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the settings that a sweep's jobs share, as far as they can be composed."""
        _check_or_exit(config, Path(config.hydra.sweep.dir))


def _check_or_exit(config: DictConfig, folder: Path) -> None:
    try:
        validate(config, folder)
    except (ConfigError, ImageError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def validate(config: DictConfig, folder: Path) -> None:
    """Check settings, image, folder and device, the quick checks first.

    Raises:
        ConfigError: a setting, the output folder or the device.
        ImageError: the image file.
    """
    settings = {key: value for key, value in config.items() if key != "hydra"}
    run_config = DictConfig(settings)
    checked = check_config(run_config)
    info = inspect_image(checked.image.path, checked.image.max_pixels)
    _check_folder(folder)
    built = build_settings(run_config)  # from here on torch is needed
    sides = (info.height_px, info.width_px)
    check_lists(checked, built.pyramid.levels_for(sides, checked.patch_size))
    if checked.trainer.accelerator == "cuda":
        _check_cuda()


def _check_folder(folder: Path) -> None:
    if (folder / "representation").exists():
        raise ConfigError(
            f"hydra.run.dir={folder}: holds a representation already; "
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
            f"hydra.run.dir={folder}: {existing} cannot be written ({error.strerror}); "
            "name another folder"
        ) from error


def _check_cuda() -> None:
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(
            "trainer.accelerator=cuda: PyTorch finds no CUDA device here; use trainer=cpu or "
            "trainer=auto"
        )
