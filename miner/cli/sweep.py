"""The jobs of a sweep, composed and checked before any of them starts."""

import shlex
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from miner.cli.checks import check_settings, check_writable
from miner.cli.help import explain
from miner.comparison.writing import COMPARISON
from miner.config.build import files_of, sources_of
from miner.config.fingerprint import job_folder, job_hash
from miner.config.job import LOCAL_LAUNCHER
from miner.config.schema import check_config
from miner.config.trainer import DDP
from miner.engine.method import configured
from miner.support.errors import ConfigError
from miner.support.run_files import REPORT, SWEEP, PlannedJob, check_own, differing_keys

_GRID_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_SLURM_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
_REFUSALS = (HydraException, OmegaConfBaseException, ValueError)


class JobGrid:
    """Every combination of some overrides, in the order of Hydra's basic sweeper.

    A key that is given twice has the values that were given last.
    """

    def __init__(
        self, config_name: str, overrides: Sequence[str], of_hydra: Sequence[str] = ()
    ) -> None:
        """Parse overrides such as `seed=0,1`; `ConfigError` if Hydra cannot read one.

        All jobs have those `of_hydra` itself.
        """
        self._config_name, self._of_hydra = config_name, of_hydra
        self.choices: dict[str, list[str]] = {}
        self.intervals: list[str] = []  # left to the sweeper that knows them
        try:
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            parsed = parser.parse_overrides(list(overrides))
        except HydraException as error:
            raise ConfigError(explain(error)) from error
        for override in parsed:
            key, line = override.get_key_element(), str(override.input_line)
            if override.is_interval_sweep():
                self.choices.pop(key, None)
                self.intervals.append(line)
            elif override.is_sweep_override():
                self.choices[key] = [f"{key}={v}" for v in override.sweep_string_iterator()]
            else:
                self.choices[key] = [line]

    def jobs(self) -> Iterator[tuple[list[str], DictConfig]]:
        """Every job's overrides and configuration; `ConfigError` if it cannot be composed."""
        for combination in product(*self.choices.values()):
            yield list(combination), self._compose(combination)

    def single_changes(self) -> Iterator[tuple[list[str], DictConfig]]:
        """The first job, and jobs that differ from it in one value: each value occurs once."""
        first = [values[0] for values in self.choices.values()]
        yield first, self._compose(first)
        for index, values in enumerate(self.choices.values()):
            for value in values[1:]:
                changed = [*first[:index], value, *first[index + 1 :]]
                yield changed, self._compose(changed)

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        try:
            return hydra.compose(self._config_name, [*self._of_hydra, *overrides])
        except _REFUSALS as error:
            raise ConfigError(explain(error)) from error


def check_sweep(config: DictConfig) -> list[PlannedJob] | None:
    """Refuse a sweep by a `ConfigError` or an `ImageError`, or give its jobs.

    None stands for those of a search, which chooses them while it runs.
    """
    folder = Path(config.hydra.sweep.dir)
    if (folder / REPORT).exists() or (folder / "representation").exists():
        raise ConfigError(f"hydra.sweep.dir={folder}: holds a single run; name another folder")
    check_own(folder, (*SWEEP, *COMPARISON))
    check_writable("hydra.sweep.dir", folder)
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    if "${job_folder:" not in sweep["subdir"]:
        raise ConfigError(
            f"hydra.sweep.subdir={sweep['subdir']}: finished jobs are found by their folders' "
            "names; leave it out, and name the sweep's folder with hydra.sweep.dir"
        )
    return _check_jobs(config)


def _check_jobs(config: DictConfig) -> list[PlannedJob] | None:
    for group in ("launcher", "sweeper"):
        if isinstance(value := config.hydra[group], str):
            raise ConfigError(f"hydra.{group}={value}: is a group; write hydra/{group}={value}")
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    swept = [f"{key}={value}" for key, value in params.items()]
    grid = JobGrid(config.hydra.job.config_name, swept + given, config.hydra.overrides.hydra)
    is_grid = config.hydra.sweeper._target_ == _GRID_SWEEPER
    if is_grid and grid.intervals:
        raise ConfigError(
            f"{grid.intervals[0]}: takes a search, as hparams_search=optuna or "
            "hydra/sweeper=optuna; or give values, as 0.1,0.2"
        )
    for key in () if is_grid else ("image", "image.path", "seed"):
        n_values = len(grid.choices.get(key, ()))
        if n_values > 1:
            reason = f"a search would choose the easiest of {n_values}; search with one at a time"
            raise ConfigError(f"{key}: {reason}")
    seen = set()
    for overrides, job in grid.single_changes():  # most errors, before a large grid is composed
        _check_job(job)
        seen.add(tuple(overrides))
    if not is_grid:
        return None
    plan = _plan(grid, seen, Path(config.hydra.sweep.dir))
    launcher = config.hydra.launcher._target_
    if launcher == _SLURM_LAUNCHER and shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=submitit_slurm: there is no srun here; start the sweep on a machine of "
            "the cluster, or use hydra/launcher=joblib"
        )
    is_unbounded = config.hydra.sweeper.max_batch_size is None and len(plan) > 1
    if launcher == LOCAL_LAUNCHER and is_unbounded:
        raise ConfigError(
            f"hydra/launcher=submitit_local: starts all {len(plan)} jobs at once; bound them "
            "with hydra.sweeper.max_batch_size=2, or use hydra/launcher=joblib"
        )
    return plan


def _check_job(config: DictConfig) -> None:
    checked = check_config(config)
    if checked.trainer.is_ddp:
        raise ConfigError(
            f"trainer.strategy={DDP}: cannot be in a sweep, which every process of a job would "
            "start again; start such jobs one by one, as python -m miner.run trainer=ddp seed=1"
        )
    check_settings(configured(config))


def _plan(grid: JobGrid, seen: Collection[tuple[str, ...]], folder: Path) -> list[PlannedJob]:
    jobs: dict[str, PlannedJob] = {}
    for number, (overrides, config) in enumerate(grid.jobs()):
        if tuple(overrides) not in seen:
            _check_job(config)
        own = folder / job_folder(str(folder), number, _root_=config)
        check_own(own, files_of(config), sources_of(config))
        job = PlannedJob(number, job_hash(config), overrides)
        twin = jobs.setdefault(job.hash, job)
        if twin is not job:
            both = f"{' '.join(twin.overrides)} and {' '.join(overrides)}"
            raise ConfigError(f"{both}: are the same job; leave one of them out")
    return list(jobs.values())


def announcement(
    folder: Path, plan: Sequence[PlannedJob] | None, n_jobs: int | None, n_done: int
) -> str:
    """What a sweep runs, of which some is done, and how to go on; without a plan it is a search."""
    values = {override.partition("=")[::2] for job in plan or () for override in job.overrides}
    counts = Counter(key for key, _ in values)
    factors = " x ".join(f"{key} ({counts[key]})" for key in differing_keys(plan or ()))
    text = "search" if plan is None else "sweep"
    if n_jobs:
        text += f" of {factors}{' = ' if factors else ''}{n_jobs} job{'' if n_jobs == 1 else 's'}"
    text += f", {n_done} of them finished," if n_done else ""
    remedy = f"the same command with hydra.sweep.dir={shlex.quote(str(folder))}"
    return f"{text} in {folder}; to go on after an interruption: {remedy}"
