"""Whether the processes that a run asks for can be, and whether they are one run."""

import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from shutil import disk_usage, which
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.cli.arguments import _no_sweep
from miner.cli.resume import check_unchanged
from miner.cli.sweep import JobGrid
from miner.config.build import build_objective, build_settings, check_cuda, device_type
from miner.config.fingerprint import job_hash
from miner.config.job import LOCAL_LAUNCHER, RankInfo, detect_rank, rank_of
from miner.config.schema import RunConfig, check_config, check_lists
from miner.engine.disk_space import scratch_for
from miner.images import inspect_image
from miner.support.errors import ConfigError, ImageError
from miner.support.run_files import REPORT, Plan, PlannedJob

_BY_HAND = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")

_LOG = logging.getLogger("miner")


def check_devices(checked: RunConfig) -> None:
    """Check what the `trainer` group asks of this machine. Imports torch for CUDA alone.

    Raises:
        ConfigError: several devices without `trainer=ddp`, or more GPUs than there are.
    """
    trainer = checked.trainer
    for name, number in (("devices", trainer.devices), ("num_nodes", trainer.num_nodes)):
        if trainer.strategy == "auto" and number > 1:
            raise ConfigError(
                f"trainer.{name}={number}: a process uses one device; for several add trainer=ddp"
            )
    if trainer.devices > 1 and device_type(trainer.accelerator) == "cuda":
        _check_gpus(trainer.devices)


def check_processes(checked: RunConfig, place: RankInfo, is_folder_named: bool) -> None:
    """Check that the processes that were started are those of one run in one folder.

    Raises:
        ConfigError: their number, a folder of their own each, or a machine without a number.
    """
    trainer = checked.trainer
    world_size = trainer.devices * trainer.num_nodes
    if trainer.strategy == "auto":
        if place.starter == "torchrun" and place.n_started > 1:
            raise ConfigError(
                f"trainer.strategy=auto: torchrun has started {place.n_started} processes, and "
                "each would fit the whole image; add trainer=ddp and trainer.devices"
            )
        return
    if place.starter is not None and place.n_started != world_size:
        raise ConfigError(
            f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: "
            f"{place.starter} has started {place.n_started} processes; give the processes of each "
            "machine and the number of machines"
        )
    if place.starter == "Slurm":
        _check_slurm(checked)
    absent = [name for name in _BY_HAND if name not in os.environ]
    if place.starter is None and trainer.num_nodes > 1 and absent:
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes}: this machine is not told {', '.join(absent)}; "
            f"start the run with srun or torchrun, or on each machine with {', '.join(_BY_HAND)}"
        )
    is_started_apart = place.n_started > 1 or trainer.num_nodes > 1
    if is_started_apart and not is_folder_named:
        raise ConfigError(
            f"hydra.run.dir: each of {world_size} processes would make a folder of its own; name "
            "one on a disk that all machines share, as hydra.run.dir=/shared/run"
        )
    if place.is_first:
        _warn_of_few_cores(trainer.devices)


def _check_slurm(checked: RunConfig) -> None:
    """Slurm tells Lightning these numbers only where they were asked for."""
    trainer = checked.trainer
    asked = {
        "SLURM_NTASKS_PER_NODE": ("devices", trainer.devices, "--ntasks-per-node"),
        "SLURM_NNODES": ("num_nodes", trainer.num_nodes, "--nodes"),
    }
    for name, (field, number, option) in asked.items():
        told = os.environ.get(name)
        if told != str(number) and trainer.devices * trainer.num_nodes > 1:
            raise ConfigError(
                f"trainer.{field}={number}: {name} is {told or 'not set'}; start the run with "
                f"{option}={number} (not --ntasks alone)"
            )


def _check_gpus(devices: int) -> None:
    import torch

    n_gpus = torch.cuda.device_count()
    if devices > n_gpus:
        raise ConfigError(
            f"trainer.devices={devices}: this process sees {n_gpus} GPUs of its machine; ask for "
            "no more, let every process see all of them, or use trainer.accelerator=cpu"
        )


def _warn_of_few_cores(devices: int) -> None:
    import joblib

    n_cores = joblib.cpu_count(only_physical_cores=True)
    if devices > n_cores and "OMP_NUM_THREADS" not in os.environ:
        _LOG.warning("%d processes share the %d cores of this machine", devices, n_cores)


_LEAST_BYTES = 2**20  # for the first small files of a run


_WORD_S = 3.0  # for the process that says it: starters end it as soon as another has left


_GRID_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


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
    check_processes(checked, detect_rank(), is_named)
    _check_writable("hydra.run.dir", folder)
    validate(own)
    if checked.fitting.scratch_dir is not None:
        _check_writable("fitting.scratch_dir", Path(checked.fitting.scratch_dir).expanduser())
    scratch_for(checked, folder, rank_of(own))
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
    grid = JobGrid(
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


@contextmanager
def exit_on_error(is_heard: bool = True) -> Iterator[None]:
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


def _plan(grid: JobGrid) -> Plan:
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


def _check_sweeper(grid: JobGrid, is_grid: bool) -> None:
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
