"""A run as Hydra describes it, and the rank of this process in it."""

import math
import os
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

from miner.support.run_files import PLAN, SweepInfo, read_plan, read_report

_NOT_BATCH = ("bash", "interactive")  # Slurm jobs in which Lightning starts its own processes


@dataclass(frozen=True)
class RankInfo:
    """One of a run's processes: its machine, its number there, and who started it.

    `n_started` is the number of processes that `starter` started; Lightning, which starts the
    others of a machine by itself, has none.
    """

    machine: int = 0
    local: int = 0
    starter: str | None = None
    n_started: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that speaks for all, and keeps the run's folder."""
        return self.machine == self.local == 0

    @property
    def name(self) -> str:
        """Its part of a file's name."""
        return f"machine{self.machine}-process{self.local}"


MAIN_PROCESS = RankInfo()
"""The one process of most runs."""


def detect_rank(environment: Mapping[str, str] = os.environ) -> RankInfo:
    """This process's place, in the order in which Lightning looks for it."""
    if "TORCHELASTIC_RUN_ID" in environment:
        machine, local = int(environment["GROUP_RANK"]), int(environment["LOCAL_RANK"])
        return RankInfo(machine, local, "torchrun", int(environment["WORLD_SIZE"]))
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in _NOT_BATCH:
        machine = int(environment.get("SLURM_NODEID", 0))
        local = int(environment.get("SLURM_LOCALID", 0))
        return RankInfo(machine, local, "Slurm", int(environment["SLURM_NTASKS"]))
    return RankInfo(int(environment.get("NODE_RANK", 0)), int(environment.get("LOCAL_RANK", 0)))


LOCAL_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"


@dataclass(frozen=True)
class Job:
    """Where a run's results go, what was asked for, and when it began (`time.time`).

    `choices` are the options of the groups; `sweep` is None for a run of its own;
    `n_parallel_jobs` jobs share the cores that this process sees; `rank` is this process's among
    those of a run on several devices.
    """

    folder: Path
    overrides: Sequence[str]
    began: float
    choices: Mapping[str, str] = field(default_factory=dict)
    sweep: SweepInfo | None = None
    n_parallel_jobs: int = 1
    rank: RankInfo = MAIN_PROCESS


def rank_of(config: DictConfig) -> RankInfo:
    """This process's place; `trainer=ddp` alone makes several processes one run."""
    is_shared = OmegaConf.select(config, "trainer.strategy") == "ddp"
    return detect_rank() if is_shared else MAIN_PROCESS


def current_job(config: DictConfig) -> Job:
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
        n_parallel_jobs=1 if is_alone else _n_parallel_jobs(running),
        rank=rank_of(config),
    )


def sweep_name(folder: Path) -> str:
    """The last two parts of a sweep's folder, by default its date and time."""
    return "/".join(folder.parts[-2:])


def _n_parallel_jobs(running: HydraConf) -> int:
    """Joblib, Ray and Slurm give each job cores of its own; submitit's local jobs share all."""
    if running.launcher._target_ != LOCAL_LAUNCHER:
        return 1
    return running.sweeper.max_batch_size or 1


def _choices(running: HydraConf) -> dict[str, str]:
    """Options by group. Hydra's own groups have a `/`, and those with several options no entry."""
    chosen = running.runtime.choices.items()
    return {group: str(option) for group, option in chosen if "/" not in group and option}


def _place(running: HydraConf, overrides: Sequence[str]) -> SweepInfo:
    folder = Path(running.sweep.dir)
    name = sweep_name(folder)
    if not (folder / PLAN).exists():  # a search: nothing is the same in all jobs by intention
        return SweepInfo(name, overrides)
    keys = set(read_plan(folder).differing)
    return SweepInfo(name, [o for o in overrides if o.partition("=")[0] in keys])


_MOST_DB = 1e6


def finished_psnr_db(folder: Path) -> float | None:
    """The PSNR in dB of a finished run whose files are all in order; None for any other."""
    try:
        report = read_report(folder)
        if report is None or report.get("status") != "finished":
            return None
        from miner.representation import load

        stored = load(folder)
        if set(stored.shards) != set(range(stored.spec.n_levels)):
            return None
    except ValueError:  # of the report or of a shard, which is fitted again
        return None
    quality = report.get("psnr_db", math.nan)
    if quality is None:  # as reports hold infinity
        return math.inf
    is_number = type(quality) in (int, float) and abs(quality) < _MOST_DB
    return float(quality) if is_number else None
