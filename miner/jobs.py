"""A run as Hydra describes it: its folder, what was asked for, the sweep it belongs to."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from miner.place import FIRST, Place, present_place
from miner.plan import PLAN, SweepPlace, read_plan

LOCAL_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"


@dataclass(frozen=True)
class Job:
    """Where a run's results go, what was asked for, and when it began (`time.time`).

    `choices` are the options of the groups; `sweep` is None for a run of its own;
    `n_side_by_side` jobs share the cores that this process sees; `place` is this process's among
    those of a run on several devices.
    """

    folder: Path
    overrides: Sequence[str]
    began: float
    choices: Mapping[str, str] = field(default_factory=dict)
    sweep: SweepPlace | None = None
    n_side_by_side: int = 1
    place: Place = FIRST


def place_in(config: DictConfig) -> Place:
    """This process's place; `trainer=ddp` alone makes several processes one run."""
    is_shared = OmegaConf.select(config, "trainer.strategy") == "ddp"
    return present_place() if is_shared else FIRST


def present_job(config: DictConfig) -> Job:
    """The job that Hydra has just started with a configuration."""
    running = HydraConfig.get()
    overrides: Any = OmegaConf.to_container(running.overrides.task, resolve=False)
    is_alone = running.mode == RunMode.RUN
    return Job(
        folder=Path(running.runtime.output_dir),
        overrides=overrides,
        # The process began with the run; in a sweep, jobs may share it.
        began=psutil.Process().create_time() if is_alone else time.time(),
        choices=_choices(running),
        sweep=None if is_alone else _place(running, overrides),
        n_side_by_side=1 if is_alone else _n_side_by_side(running),
        place=place_in(config),
    )


def sweep_name(folder: Path) -> str:
    """The last two parts of a sweep's folder, by default its date and time."""
    return "/".join(folder.parts[-2:])


def _n_side_by_side(running: HydraConf) -> int:
    """Joblib, Ray and Slurm give each job cores of its own; submitit's local jobs share all."""
    if running.launcher._target_ != LOCAL_LAUNCHER:
        return 1
    return running.sweeper.max_batch_size or 1


def _choices(running: HydraConf) -> dict[str, str]:
    """Options by group. Hydra's own groups have a `/`, and those with several options no entry."""
    chosen = running.runtime.choices.items()
    return {group: str(option) for group, option in chosen if "/" not in group and option}


def _place(running: HydraConf, overrides: Sequence[str]) -> SweepPlace:
    folder = Path(running.sweep.dir)
    name = sweep_name(folder)
    if not (folder / PLAN).exists():  # a search: nothing is the same in all jobs by intention
        return SweepPlace(name, overrides)
    keys = set(read_plan(folder).differing)
    return SweepPlace(name, [o for o in overrides if o.partition("=")[0] in keys])
