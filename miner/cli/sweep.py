"""The jobs of a sweep: composed once as far as they agree, and checked before any starts."""

import shlex
import shutil
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, cast

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
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
from miner.support.errors import ConfigError, ImageError
from miner.support.run_files import REPORT, SWEEP, PlannedJob, check_own, differing_keys

_GRID_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_SLURM_LAUNCHER = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
_REFUSALS = (HydraException, OmegaConfBaseException, ValueError)


class SweepLoader(ConfigLoaderImpl):
    """Composes once for each choice of options, which takes long, and sets values in a copy."""

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        super().__init__(loader.get_search_path())
        self._groups = set(self.list_groups(""))
        self._composed: dict[tuple[Any, ...], DictConfig] = {}

    def __getstate__(self) -> dict[str, Any]:  # the processes of other launchers need none
        return self.__dict__ | {"_composed": {}}

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        *more: Any,
        **named: Any,
    ) -> DictConfig:
        """What Hydra's loader gives."""
        parsed = OverridesParser.create(self).parse_overrides(overrides)
        values = [one for one in parsed if self._only_sets_a_value(one)]
        chosen = [str(one.input_line) for one in parsed if one not in values]
        key = (config_name, run_mode, *chosen)
        if key not in self._composed:
            loaded = super().load_configuration(config_name, chosen, run_mode, *more, **named)
            self._composed[key] = loaded
        config = self._composed[key].copy()
        try:
            self._apply_overrides_to_config(values, config)
        except ConfigCompositionException:  # wrong, or of a group in hydra.searchpath: Hydra knows
            return super().load_configuration(config_name, overrides, run_mode)
        job: Any = config.hydra.job
        noted = [one for one in parsed if not one.is_hydra_override()]
        config.hydra.overrides.task = [one.input_line for one in noted]
        job.override_dirname = get_overrides_dirname(noted, **job.config.override_dirname)
        return config

    def _only_sets_a_value(self, override: Override) -> bool:
        key = override.key_or_group
        if override.is_sweep_override() or override.is_hydra_override() or "/" in key:
            return False
        is_group = key in self._groups and not isinstance(override.value(), dict)
        return not is_group and override.package is None


def compose_once() -> None:
    """Let Hydra, which is running, use a `SweepLoader`, the same one until a file changes."""
    running: Any = GlobalHydra.instance().hydra
    path = running.config_loader.get_search_path()
    places = [one.path.partition("file://") for one in path.get_path()]
    files = (file for _, _, folder in places if folder for file in Path(folder).rglob("*"))
    written = tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files))
    running.config_loader = _loader(str(path), written)


@lru_cache(maxsize=1)
def _loader(path: str, written: tuple[tuple[str, int], ...]) -> SweepLoader:
    return SweepLoader(cast(Any, GlobalHydra.instance().hydra).config_loader)


class JobGrid:
    """Every combination of overrides such as `seed=0,1`, in the order of Hydra's basic sweeper.

    A key that is given twice has its last values. All jobs have the overrides `of_hydra` itself.
    Raises `ConfigError` for an override that Hydra cannot read.
    """

    def __init__(
        self, config_name: str, overrides: Sequence[str], of_hydra: Sequence[str] = ()
    ) -> None:
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

    def swept(self, overrides: Sequence[str]) -> str:
        """Those of a job's overrides that other jobs have otherwise."""
        pairs = zip(self.choices.values(), overrides, strict=True)
        return " ".join(override for values, override in pairs if len(values) > 1)

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
    """Refuse a sweep by a `ConfigError` or an `ImageError`, or give its jobs, None for a search."""
    folder = Path(config.hydra.sweep.dir)
    if (folder / REPORT).exists() or (folder / "representation").exists():
        raise ConfigError(f"hydra.sweep.dir={folder}: holds a single run; name another folder")
    check_own(folder, (*SWEEP, *COMPARISON))
    check_writable("hydra.sweep.dir", folder)
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    if "${job_folder:" not in sweep["subdir"]:
        reason = "finished jobs are found by their folders' names"
        remedy = "leave it out, and name the sweep's folder with hydra.sweep.dir"
        raise ConfigError(f"hydra.sweep.subdir={sweep['subdir']}: {reason}; {remedy}")
    for group in ("launcher", "sweeper"):
        if isinstance(value := config.hydra[group], str):
            raise ConfigError(f"hydra.{group}={value}: is a group; write hydra/{group}={value}")
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    given: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    swept = [f"{key}={value}" for key, value in params.items()]
    grid = JobGrid(config.hydra.job.config_name, swept + given, config.hydra.overrides.hydra)
    is_grid = config.hydra.sweeper._target_ == _GRID_SWEEPER
    if is_grid and grid.intervals:
        remedy = "hparams_search=optuna or hydra/sweeper=optuna; or give values, as 0.1,0.2"
        raise ConfigError(f"{grid.intervals[0]}: takes a search, as {remedy}")
    for key in () if is_grid else ("image", "image.path", "seed"):
        if (n_values := len(grid.choices.get(key, ()))) > 1:
            reason = f"a search would choose the easiest of {n_values}; search with one at a time"
            raise ConfigError(f"{key}: {reason}")
    seen = set()
    for overrides, job in grid.single_changes():  # most errors, before a large grid is composed
        _check_job(job, grid.swept(overrides))
        seen.add(tuple(overrides))
    if not is_grid:
        return None
    plan = _plan(grid, seen, folder)
    _check_launcher(config, len(plan))
    return plan


def _check_launcher(config: DictConfig, n_jobs: int) -> None:
    launcher, remedy = config.hydra.launcher._target_, "or use hydra/launcher=joblib"
    if launcher == _SLURM_LAUNCHER and shutil.which("srun") is None:
        reason = "there is no srun here; start the sweep on a machine of the cluster"
        raise ConfigError(f"hydra/launcher=submitit_slurm: {reason}, {remedy}")
    if launcher == LOCAL_LAUNCHER and config.hydra.sweeper.max_batch_size is None and n_jobs > 1:
        reason = f"starts all {n_jobs} jobs at once; bound them with hydra.sweeper.max_batch_size=2"
        raise ConfigError(f"hydra/launcher=submitit_local: {reason}, {remedy}")


def _check_job(config: DictConfig, swept: str) -> None:
    try:
        _check_alone(config)
    except (ConfigError, ImageError) as error:
        raise type(error)(f"{error} ({swept})" if swept else str(error)) from error


def _check_alone(config: DictConfig) -> None:
    if check_config(config).trainer.is_ddp:
        reason = "cannot be in a sweep, which every process of a job would start again"
        remedy = "start such jobs one by one, as python -m miner.run trainer=ddp seed=1"
        raise ConfigError(f"trainer.strategy={DDP}: {reason}; {remedy}")
    check_settings(configured(config))


def _plan(grid: JobGrid, seen: Collection[tuple[str, ...]], folder: Path) -> list[PlannedJob]:
    jobs: dict[str, PlannedJob] = {}
    for number, (overrides, config) in enumerate(grid.jobs()):
        if tuple(overrides) not in seen:
            _check_job(config, grid.swept(overrides))
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
    factors = " x ".join(f"{key} ({n})" for key, n in differing_keys(plan or ()).items())
    text = "search" if plan is None else "sweep"
    if n_jobs:
        text += f" of {factors}{' = ' if factors else ''}{n_jobs} job{'' if n_jobs == 1 else 's'}"
    text += f", {n_done} of them finished," if n_done else ""
    remedy = f"the same command with hydra.sweep.dir={shlex.quote(str(folder))}"
    return f"{text} in {folder}; to go on after an interruption: {remedy}"
