"""Everything that can be known to be wrong is said before Hydra makes a folder."""

import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import ENOSPC
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage, which
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.command_line import SWEEP_FLAGS, is_text
from miner.config import CONF_FOLDER, build_objective, build_settings, check_cuda, device_type
from miner.distribution import check_devices, check_processes
from miner.grid import Grid
from miner.identity import job_hash
from miner.images import ImageError, inspect_image
from miner.jobs import LOCAL_LAUNCHER, place_in
from miner.place import present_place
from miner.plan import Plan, PlannedJob
from miner.reports import REPORT
from miner.resuming import check_unchanged
from miner.schema import ConfigError, check_config, check_lists
from miner.space import scratch_for

_LEAST_BYTES = 2**20  # for the first small files of a run
_WORD_S = 3.0  # for the process that says it: starters end it as soon as another has left
_GRID_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_PLUGINS = {
    "hydra/launcher=ray": "hydra_plugins.hydra_ray_launcher",
    "hydra/launcher=submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "hydra/launcher=submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "hydra/sweeper=optuna": "hydra_plugins.hydra_optuna_sweeper",
}
_SLURM_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"


def check_run(config: DictConfig) -> None:
    """Check a single run, or one process of it; `config` is all of Hydra's.

    Raises:
        ConfigError: a setting, the folder, what an earlier start left in it, or the devices.
        ImageError: the image file.
    """
    folder = Path(config.hydra.run.dir)
    own = _own_settings(config)
    checked = check_config(own)
    is_named = any(o.startswith("hydra.run.dir=") for o in config.hydra.overrides.hydra)
    check_processes(checked, present_place(), is_named)
    _check_writable("hydra.run.dir", folder)
    validate(own)
    if checked.fitting.scratch_dir is not None:
        _check_writable("fitting.scratch_dir", Path(checked.fitting.scratch_dir).expanduser())
    scratch_for(checked, folder, place_in(own))
    check_unchanged(folder, own, device_type(own.trainer.accelerator))


def check_sweep(config: DictConfig) -> Plan | None:
    """Check every job of a sweep; gives them all, or None where a search chooses them on its way.

    Raises:
        ConfigError: a setting, the folder or the device.
        ImageError: an image file.
    """
    _check_sweep_folders(config)
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    grid = Grid(
        config.hydra.job.config_name, [f"{key}={value}" for key, value in params.items()] + given
    )
    is_grid = config.hydra.sweeper._target_ == _GRID_SWEEPER
    _check_sweeper(grid, is_grid)
    for _, job in grid.single_changes():  # finds most mistakes before a large grid is composed
        validate(job)
        if job.trainer.strategy == "ddp":
            raise _no_sweep("trainer.strategy=ddp")
    if not is_grid:
        return None
    plan = _plan(grid)
    _check_launcher(config, len(plan.jobs))
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
    check_devices(checked)
    built = build_settings(config)  # from here on torch is needed
    sides = (info.height_px, info.width_px)
    check_lists(checked, built.pyramid.levels_for(sides, checked.patch_size))


def refuse_arguments(arguments: Sequence[str]) -> None:
    """Refuse what Hydra would answer with a traceback, or without saying what helps.

    Raises:
        ConfigError: an argument.
    """
    groups = {folder.name: folder for folder in CONF_FOLDER.iterdir() if folder.is_dir()}
    is_sweep = any(argument in SWEEP_FLAGS for argument in arguments)
    for argument in arguments:
        if not is_text(argument):
            raise ConfigError(f"{argument!r}: is not UTF-8; rename the file")
        name, _, value = argument.partition("=")
        if name in groups and {"null", "true", "false"} & set(value.lower().split(",")):
            options = sorted(file.stem for file in groups[name].glob("*.yaml"))
            raise ConfigError(f"{argument}: must be one of {', '.join(options)}")
        if is_sweep and name in ("trainer", "trainer.strategy") and "ddp" in value:
            raise _no_sweep(argument)
        if is_sweep and argument.split("=")[0] in ("-c", "--cfg"):
            raise ConfigError(f"{argument}: shows the configuration of one run; leave out -m")
        if argument in _PLUGINS and find_spec(_PLUGINS[argument]) is None:
            extra = value.partition("_")[0]
            raise ConfigError(f"{argument}: is not installed; pip install -e '.[{extra}]'")


def _no_sweep(setting: str) -> ConfigError:
    return ConfigError(
        f"{setting}: cannot be in a sweep, which every process of a job would start again; start "
        "such jobs one by one, as python -m miner.run trainer=ddp trainer.devices=2 seed=1"
    )


@contextmanager
def exit_on_mistakes(is_heard: bool = True) -> Iterator[None]:
    """Leave with status 1: at a mistake with a line, at a fault of ours with a traceback.

    Where `is_heard` is false, another process says the line. Hydra turns a callback's exceptions
    into warnings, but lets `SystemExit` through.
    """
    try:
        yield
    except (ConfigError, ImageError) as error:
        for line in str(error).splitlines() if is_heard else ():
            print(f"error: {line}", file=sys.stderr)
        if not is_heard:
            time.sleep(_WORD_S)
        raise SystemExit(1) from None
    except Exception:  # a fault of ours, which must not pass for a warning
        traceback.print_exc()
        raise SystemExit(1) from None


def _check_sweep_folders(config: DictConfig) -> None:
    folder = Path(config.hydra.sweep.dir)
    if (folder / REPORT).exists() or (folder / "representation").exists():
        raise ConfigError(f"hydra.sweep.dir={folder}: holds a single run; name another folder")
    _check_writable("hydra.sweep.dir", folder)
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    if "${job_folder:" not in sweep["subdir"]:
        raise ConfigError(
            f"hydra.sweep.subdir={sweep['subdir']}: finished jobs are found by their folders' "
            "names; leave it out, and name the sweep's folder with hydra.sweep.dir"
        )


def _plan(grid: Grid) -> Plan:
    jobs: dict[str, PlannedJob] = {}
    for number, (overrides, config) in enumerate(grid.jobs()):
        validate(config)
        job = PlannedJob(number, job_hash(config), overrides)
        twin = jobs.setdefault(job.hash, job)
        if twin is not job:
            pairs = zip(twin.overrides, overrides, strict=True)
            changed = [f"{one} or {other}" for one, other in pairs if one != other]
            raise ConfigError(
                f"{', '.join(changed) or ' '.join(overrides)}: jobs {twin.number} and {number} are "
                "the same; leave one of them out"
            )
    return Plan(list(jobs.values()))


def _check_sweeper(grid: Grid, is_grid: bool) -> None:
    if is_grid and grid.intervals:
        raise ConfigError(
            f"{grid.intervals[0]}: takes a search (hydra/sweeper=optuna, or experiment=search); "
            "or give values, as 0.1,0.2"
        )
    for key in ("image", "image.path", "seed"):
        if not is_grid and len(grid.choices.get(key, ())) > 1:
            raise ConfigError(
                f"{key}: a search would choose the easiest of {len(grid.choices[key])}; "
                "search with one at a time"
            )


def _check_launcher(config: DictConfig, n_jobs: int) -> None:
    sweeper, launcher = config.hydra.sweeper, config.hydra.launcher
    if launcher._target_ == _SLURM_LAUNCHER and which("srun") is None:
        raise ConfigError(
            "hydra/launcher=submitit_slurm: there is no srun here; start the sweep on a machine of "
            "the cluster, or use hydra/launcher=joblib"
        )
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
        if disk_usage(existing).free < _LEAST_BYTES:
            raise OSError(ENOSPC, "no space left")
    except OSError as error:
        raise ConfigError(
            f"{setting}={folder}: {existing} cannot be written ({error.strerror}); "
            "name another folder"
        ) from error
