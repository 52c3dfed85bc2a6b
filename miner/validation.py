"""Everything that can be known to be wrong is said before Hydra makes a folder."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.config import CONF_FOLDER, build_objective, build_settings, check_cuda
from miner.grid import Grid
from miner.identity import job_hash
from miner.images import ImageError, inspect_image
from miner.jobs import LOCAL_LAUNCHER
from miner.plan import Plan, PlannedJob
from miner.reports import REPORT
from miner.schema import ConfigError, check_config, check_lists

_GRID_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_EXTRAS = ("joblib", "submitit", "ray", "optuna")


def check_run(config: DictConfig) -> None:
    """Check a single run; `config` is all of Hydra's.

    Raises:
        ConfigError: a setting, the folder or the device.
        ImageError: the image file.
    """
    folder = Path(config.hydra.run.dir)
    if (folder / "representation").exists():
        raise ConfigError(
            f"hydra.run.dir={folder}: holds a representation already; "
            "name another folder, or delete that one"
        )
    _check_writable("hydra.run.dir", folder)
    validate(_own_settings(config))


def check_sweep(config: DictConfig) -> Plan | None:
    """Check every job of a sweep; gives them all, or None where a search chooses them on its way.

    Raises:
        ConfigError: a setting, the folder or the device.
        ImageError: an image file.
    """
    folder = Path(config.hydra.sweep.dir)
    if (folder / REPORT).exists() or (folder / "representation").exists():
        raise ConfigError(f"hydra.sweep.dir={folder}: holds a single run; name another folder")
    _check_writable("hydra.sweep.dir", folder)
    _check_plugins(config)
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    _refuse_ddp(given)
    grid = Grid(
        config.hydra.job.config_name, [f"{key}={value}" for key, value in params.items()] + given
    )
    if config.hydra.sweeper._target_ != _GRID_SWEEPER:
        for _, job in grid.single_changes():
            validate(job)
        return None
    plan = _plan(grid)
    _check_bound(config, len(plan.jobs))
    return plan


def validate(config: DictConfig) -> None:
    """Check settings, image and device, the quick checks first.

    Raises:
        ConfigError: a setting or the device.
        ImageError: the image file.
    """
    checked = check_config(config)
    image = checked.image
    info = inspect_image(image.path, image.max_pixels, image.crop_px)
    build_objective(config)
    if checked.trainer.accelerator == "cuda":
        check_cuda("trainer.accelerator=cuda", "trainer=cpu or trainer=auto")
    built = build_settings(config)  # from here on torch is needed
    sides = (info.height_px, info.width_px)
    check_lists(checked, built.pyramid.levels_for(sides, checked.patch_size))


def refuse_null_groups(arguments: Sequence[str]) -> None:
    """Leave with status 1 at `group=null` and the like, where Hydra gives a traceback."""
    groups = {folder.name: folder for folder in CONF_FOLDER.iterdir() if folder.is_dir()}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in groups and value.lower() in ("null", "true", "false"):
            options = sorted(file.stem for file in groups[name].glob("*.yaml"))
            with exit_on_mistakes():
                raise ConfigError(f"{argument}: must be one of {', '.join(options)}")


@contextmanager
def exit_on_mistakes() -> Iterator[None]:
    """Leave with status 1 and one line for each mistake.

    Hydra turns a callback's exceptions into warnings, but lets `SystemExit` through.
    """
    try:
        yield
    except (ConfigError, ImageError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None


def _plan(grid: Grid) -> Plan:
    jobs: dict[str, PlannedJob] = {}
    for number, (overrides, config) in enumerate(grid.jobs()):
        validate(config)
        job = PlannedJob(number, job_hash(config), overrides)
        twin = jobs.setdefault(job.hash, job)
        if twin is not job:
            raise ConfigError(
                f"jobs {twin.number} ({' '.join(twin.overrides)}) and {number} "
                f"({' '.join(overrides)}): are the same; leave one of them out"
            )
    return Plan(list(jobs.values()))


def _refuse_ddp(overrides: Sequence[str]) -> None:
    for override in overrides:
        key, _, value = override.partition("=")
        if key in ("trainer", "trainer.strategy") and "ddp" in value:
            raise ConfigError(
                f"{override}: cannot be in a sweep, which each process of a job would start "
                "again; start its jobs one by one: torchrun -m miner.run trainer=ddp ..."
            )


def _check_plugins(config: DictConfig) -> None:
    """Name the extra that an option of Hydra's needs, where Hydra gives a traceback."""
    for group in ("launcher", "sweeper"):
        parts = config.hydra[group]._target_.split(".")
        if parts[0] == "hydra_plugins" and find_spec(".".join(parts[:2])) is None:
            option = config.hydra.runtime.choices[f"hydra/{group}"]
            extra = next((name for name in _EXTRAS if name in parts[1]), option)
            raise ConfigError(
                f"hydra/{group}={option}: {parts[1]} is not installed; "
                f"pip install -c constraints.txt -e '.[{extra}]'"
            )


def _check_bound(config: DictConfig, n_jobs: int) -> None:
    sweeper, launcher = config.hydra.sweeper, config.hydra.launcher
    if launcher._target_ == LOCAL_LAUNCHER and sweeper.max_batch_size is None and n_jobs > 1:
        raise ConfigError(
            f"hydra/launcher=submitit_local: starts all {n_jobs} jobs at once; bound them with "
            "hydra.sweeper.max_batch_size=2, or use hydra/launcher=joblib"
        )


def _own_settings(config: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _check_writable(setting: str, folder: Path) -> None:
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
