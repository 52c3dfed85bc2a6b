"""A run as Hydra describes it, and the rank of this process in it."""

import os
import platform
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from miner.config.trainer import DDP
from miner.support.process import source_commit
from miner.support.run_files import PLAN, SweepInfo, differing_keys, read_plan, read_report

LOCAL_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher"
_NOT_BATCH = ("bash", "interactive")  # Slurm jobs in which Lightning starts its own processes


@dataclass(frozen=True)
class RankInfo:
    """One of a run's processes; a launcher starts `world_size` of them, without one Lightning."""

    node_rank: int = 0
    local_rank: int = 0
    launcher: str | None = None
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is rank 0, which writes the run's folder."""
        return self.node_rank == self.local_rank == 0

    @property
    def name(self) -> str:
        """Its part of a file's name."""
        return f"machine{self.node_rank}-process{self.local_rank}"


MAIN_PROCESS = RankInfo()


@dataclass(frozen=True)
class Job:
    """A run, or a job of a sweep."""

    folder: Path
    overrides: Sequence[str]
    began: float  # of `time.time`
    choices: Mapping[str, str] = field(default_factory=dict)  # options of the groups
    sweep: SweepInfo | None = None  # None is a single run
    n_parallel_jobs: int = 1  # which share the cores that this process sees
    rank: RankInfo = MAIN_PROCESS  # this process's, in a run on several devices
    command: str = ""  # fits the same again, of a sweep this job alone

    @property
    def origin(self) -> dict[str, Any]:
        """What code was run where, and how."""
        return {"commit": source_commit(), "host": platform.node(), "command": self.command}


def detect_rank(environment: Mapping[str, str] = os.environ) -> RankInfo:
    """The rank of this process, read in the order in which Lightning looks for it."""

    def number(name: str) -> int:
        return int(environment.get(name, 0))

    if "TORCHELASTIC_RUN_ID" in environment:
        ranks = number("GROUP_RANK"), number("LOCAL_RANK")
        return RankInfo(*ranks, "torchrun", number("WORLD_SIZE"))
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in _NOT_BATCH:
        ranks = number("SLURM_NODEID"), number("SLURM_LOCALID")
        return RankInfo(*ranks, "Slurm", number("SLURM_NTASKS"))
    return RankInfo(number("NODE_RANK"), number("LOCAL_RANK"))


def rank_of(config: DictConfig) -> RankInfo:
    """The rank of this process; only `trainer=ddp` makes several processes one run."""
    is_ddp = OmegaConf.select(config, "trainer.strategy") == DDP
    return detect_rank() if is_ddp else MAIN_PROCESS


def current_job(config: DictConfig) -> Job:
    """The job that Hydra has just started with a configuration."""
    running = HydraConfig.get()
    overrides: Any = OmegaConf.to_container(running.overrides.task, resolve=False)
    is_alone = running.mode == RunMode.RUN
    is_local = not is_alone and running.launcher._target_ == LOCAL_LAUNCHER
    chosen, sources = running.runtime.choices.items(), running.runtime.config_sources
    flags = [f"--config-dir={one.path}" for one in sources if one.provider == "command-line"]
    # without Hydra's quotes, as people type it
    typed = [re.sub(r"^(image\.path=)'([^'\\]*)'$", r"\1\2", one) for one in overrides]
    return Job(
        folder=Path(running.runtime.output_dir),
        overrides=overrides,
        # The process began with the run; in a sweep, jobs may share it.
        began=psutil.Process().create_time() if is_alone else time.time(),
        # Hydra's own groups have a "/", those with several options no entry; a file is no option.
        choices={group: str(option) for group, option in chosen if "/" not in group and option}
        | ({"image": "file"} if any(one.startswith("image.path=") for one in overrides) else {}),
        sweep=None if is_alone else _sweep_info(Path(running.sweep.dir), overrides),
        # Submitit's local jobs share all cores; Joblib, Ray and Slurm give each job some of them.
        n_parallel_jobs=running.sweeper.max_batch_size or 1 if is_local else 1,
        rank=rank_of(config),
        command=shlex.join(["python", "-m", "miner.run", *flags, *typed]),
    )


def sweep_name(folder: Path) -> str:
    """The last two parts of a sweep's folder, by default its date and time."""
    return "/".join(folder.parts[-2:])


def finished_report(folder: Path) -> dict[str, Any] | None:
    """The report of a finished run whose files are all in order; None for any other."""
    try:
        report = read_report(folder) or {}
        quality = report.get("psnr_db", "unknown")  # null is infinite
        is_number = type(quality) in (int, float) and abs(quality) < 1e6
        if report.get("status") != "finished" or not (quality is None or is_number):
            return None
        if report.get("file"):  # of another method
            size = (folder / str(report["file"])).stat().st_size
            return report if size == report.get("file_bytes") else None
        if report.get("file_bytes") is not None:
            from miner.representation import load

            stored = load(folder)
            return report if len(stored.shards) == stored.spec.n_levels else None
    except (ValueError, OSError):  # of the report or of what is stored, which is fitted again
        return None
    return report


def _sweep_info(folder: Path, overrides: Sequence[str]) -> SweepInfo:
    if (folder / PLAN).exists():  # else it is a search, whose overrides all differ
        keys = differing_keys(read_plan(folder))
        overrides = [override for override in overrides if override.partition("=")[0] in keys]
    return SweepInfo(sweep_name(folder), overrides)
