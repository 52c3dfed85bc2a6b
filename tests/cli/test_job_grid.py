"""The jobs of a sweep are those that Hydra would start, and each is checked once, before any."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from miner.cli.sweep import JobGrid, SweepLoader, announcement, check_sweep, compose_once
from miner.config.build import CONF_FOLDER
from miner.config.schema import check_config
from miner.metrics.objective import Objective
from miner.support.errors import ConfigError

SEVERAL = [  # overrides of more than one job
    "seed=0,1",
    "seed=range(0,2)",
    "pyramid=gaussian,laplacian",
    "pyramid.n_levels=2,auto",
    "activation=glob(si*)",
    "capacity=uniform,target_error",
    "model.width=[4,8],12",
    "model.width=choice(4,8)",
    "fitting.max_mse=1e-4,0.001",
    "image.path='a, b.png',sample:moon",
    "image.crop_px=null,16",
    "logger=[csv],none",
    "+optimizer.eps=1e-8,1e-7",
    "experiment=paper,fast",
    "optimizer.lr=0.01,0.1",
]
SIMILAR = [  # to others of these, in how they are read
    *("capacity=uniform,target_error", "fitting.max_mse=1e-4,0.001", "optimizer.lr=0.01,0.1"),
    *("pyramid.n_levels=2,auto", "experiment=paper,fast", "model.width=choice(4,8)"),
]
SINGLE = [  # overrides of one job, in one list where they do not conflict
    ["seed=5", "readout=learned", "fitting.max_steps=[3,4]", "~optimizer.betas"],
    ["++seed=8", "patch_size=${model.depth}", "~trainer", "optimizer=adam_paper"],
    ["experiment=miner_pl"],
]
OVERRIDES = [*SEVERAL, *(override for group in SINGLE for override in group)]


@pytest.fixture(scope="module", autouse=True)
def initialized() -> Iterator[None]:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        compose_once()
        yield


def loader_of_hydra() -> ConfigLoaderImpl:
    """Hydra's own, which composes everything anew."""
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, SweepLoader)
    return ConfigLoaderImpl(loader.get_search_path())


def composed_by_hydra(overrides: Sequence[str]) -> DictConfig:
    """A job's configuration, with Hydra's own settings."""
    return loader_of_hydra().load_configuration("config", list(overrides), RunMode.RUN)


def started_by_hydra(overrides: Sequence[str]) -> list[list[str]]:
    """Each job's overrides, from Hydra's own sweeper."""
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    (jobs,) = BasicSweeper.split_arguments(parser.parse_overrides(list(overrides)), None)
    return jobs


def plain(config: DictConfig) -> object:
    return OmegaConf.to_container(config)


def check(overrides: Sequence[str]) -> None:
    """Compare the whole grid with Hydra's, and each job's overrides with its configuration.

    Overrides that are spelt in another way are composed too.
    """
    jobs, expected = list(JobGrid("config", overrides).jobs()), started_by_hydra(overrides)
    assert len(jobs) == len(expected)
    for (own, config), job in zip(jobs, expected, strict=True):
        expected_config = composed_by_hydra(job)
        assert plain(compose("config", job, return_hydra_config=True)) == plain(expected_config)
        with open_dict(expected_config):
            del expected_config["hydra"]
        assert plain(config) == plain(expected_config)
        if own != job:
            assert plain(config) == plain(compose("config", own))


ANY_OVERRIDES = st.lists(st.sampled_from(OVERRIDES), max_size=4, unique=True)


@pytest.mark.slow
@given(overrides=ANY_OVERRIDES)
@settings(max_examples=40)
def test_any_grid_is_hydras(overrides: list[str]) -> None:
    assume(len(started_by_hydra(overrides)) <= 4)
    check(overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        *(pytest.param([one], marks=[pytest.mark.slow] * (one in SIMILAR)) for one in SEVERAL),
        *SINGLE,
        ["seed=0,1", "seed=2,3"],  # of a key that is given twice, the last one counts
        ["seed=0,1", "patch_size=8", "seed=7"],
        ["pyramid=laplacian", "pyramid=gaussian,laplacian"],
        ["+optimizer.eps=1e-8", "optimizer.eps=1e-7"],
        ["++optimizer.lr=1", "optimizer.lr=2"],
        ["optimizer.lr=2", "++optimizer.lr=1"],
        ["optimizer.lr=2,3", "optimizer=adamw"],
        ["experiment=fast", "pyramid=gaussian", "model.width=7"],
    ],
    ids=" ".join,
)
def test_overrides_are_read_as_hydra_does(overrides: list[str]) -> None:
    check(overrides)


def test_options_are_composed_once_for_all_values_and_the_last_key_runs_fastest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed = []
    load = ConfigLoaderImpl.load_configuration

    def count(
        self: ConfigLoaderImpl, name: str, overrides: list[str], *more: Any, **named: Any
    ) -> DictConfig:
        composed.append(overrides)
        return load(self, name, overrides, *more, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", count)
    compose_once()
    of_hydra = ["hydra.sweep.dir=sweep"]
    grid = JobGrid("config", ["pyramid=gaussian,laplacian", "seed=range(0,50)"], of_hydra)
    expected = [[f"pyramid={p}", f"seed={s}"] for p in ("gaussian", "laplacian") for s in range(50)]
    assert [job for job, _ in grid.jobs()] == expected
    assert composed == [[*of_hydra, "pyramid=gaussian"], [*of_hydra, "pyramid=laplacian"]]


def test_job_of_a_sweep_is_composed_as_by_hydra_and_as_often_as_it_is_changed() -> None:
    master = compose("config", ["hydra.sweep.dir=sweep"], return_hydra_config=True)
    with read_write(master):
        master.hydra.job.config_name = "config"
    loader = GlobalHydra.instance().config_loader()
    for job in (["seed=1", "pyramid=laplacian"], ["pyramid=laplacian", "seed=2"]):
        expected = loader_of_hydra().load_sweep_config(master, job)
        for _ in range(2):
            found = loader.load_sweep_config(master, job)
            assert plain(found) == plain(expected)
            found.seed, found.hydra.job.num = 99, 7


WRONG = {
    "fitting.max_step=4": "fitting.max_step=4: there is no such setting",
    "pyramids=gaussian": "did you mean pyramid?",
    "pyramid=gaussian,steerable": "no such option; must be one of gaussian, laplacian",
    "experiment=none": "must be one of ablation/activation",
    "~logger": "Could not delete 'logger'",
    "+seed=1": "seed exists; leave out the +",
    "logger.wandb.tag=x": "did you mean logger.wandb.tags?",
    "hydra.job.chdir=maybe": "'maybe' is not a valid bool",
    "seed": "name=value",
    "seed=0,": "seed=0,: cannot be read; quote",
}


@pytest.mark.parametrize("override", WRONG)
def test_wrong_override_is_refused_in_one_line(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list(JobGrid("config", ["seed=0,1", override]).jobs())
    message = str(caught.value)
    assert WRONG[override] in message
    assert "\n" not in message and "Config search path" not in message


def test_every_recipe_composes_in_one_sweep() -> None:
    grid = JobGrid("config", ["experiment=glob(*)"])
    recipes = [file.stem for file in (CONF_FOLDER / "experiment").glob("*.yaml")]
    assert grid.choices == {"experiment": [f"experiment={name}" for name in sorted(recipes)]}
    for _, config in grid.jobs():
        check_config(config)


def test_interval_is_left_to_its_sweeper_and_replaces_values() -> None:
    overrides = ["optimizer.lr=1,2", "optimizer.lr=tag(log,interval(0.01,0.1))", "seed=0,1"]
    grid = JobGrid("config", overrides)
    assert (list(grid.choices), len(grid.intervals)) == (["seed"], 1)
    assert [config.seed for _, config in grid.jobs()] == [0, 1]


def test_single_changes_take_each_value_once() -> None:
    overrides = ["pyramid=gaussian,laplacian", "seed=0,1,2", "patch_size=8"]
    changes = list(JobGrid("config", overrides).single_changes())
    found = [(job[0].partition("=")[2], config.seed) for job, config in changes]
    assert found == [("gaussian", 0), ("laplacian", 0), ("gaussian", 1), ("gaussian", 2)]
    assert {config.patch_size for _, config in changes} == {8}


@pytest.mark.parametrize("overrides", [[], ["optimizer.lr=interval(0.01,0.1)"]])
def test_grid_without_values_has_one_job(overrides: list[str]) -> None:
    grid = JobGrid("config", overrides)
    for jobs in (grid.jobs(), grid.single_changes()):
        ((job, config),) = jobs
        assert (job, plain(config)) == ([], plain(compose("config")))


JOBS = ("pyramid=gaussian,laplacian", "seed=0,1,2", "logger=none", "image=camera")


@dataclass(frozen=True)
class Counting(Objective):
    """An objective that counts how often it is built: once for each check of a job."""

    n_built: ClassVar[int] = 0

    def __post_init__(self) -> None:
        type(self).n_built += 1

    def value(self, report: Mapping[str, Any]) -> float:
        """Nothing is run."""
        raise NotImplementedError


def sweep_config(folder: Path, *overrides: str) -> DictConfig:
    """What Hydra gives its callbacks before a sweep of some overrides starts."""
    config = compose("config", [f"hydra.sweep.dir={folder}/sweep"], return_hydra_config=True)
    with read_write(config):
        config.hydra.job.config_name = "config"
        config.hydra.overrides.task = list(overrides)
    return config


def test_each_job_is_checked_once(tmp_path: Path) -> None:
    counting = f"objective={{_target_: {__name__}.Counting}}"
    plan = check_sweep(sweep_config(tmp_path, *JOBS, counting))
    assert plan is not None
    assert len(plan) == Counting.n_built == 6


def test_wrong_job_is_refused_before_there_is_a_folder(tmp_path: Path) -> None:
    config = sweep_config(tmp_path, *JOBS, "patch_size=8,0")
    with pytest.raises(ConfigError, match=r"^patch_size=0: must be from 2"):
        check_sweep(config)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_says_how_many_jobs_it_will_run_and_how_to_go_on(tmp_path: Path) -> None:
    plan = check_sweep(sweep_config(tmp_path, *JOBS)) or []
    remedy = "to go on after an interruption: the same command with hydra.sweep.dir="
    said = announcement(Path("my sweep"), plan, 6, n_done=2)
    counts = "pyramid (2) x seed (3) = 6 jobs, 2 of them finished,"
    assert said == f"sweep of {counts} in my sweep; {remedy}'my sweep'"
    assert announcement(Path("a"), plan[:1], 1, 0) == f"sweep of 1 job in a; {remedy}a"
    assert announcement(Path("a"), None, 50, 0) == f"search of 50 jobs in a; {remedy}a"
    assert announcement(Path("a"), None, None, 0).startswith("search in a; ")
