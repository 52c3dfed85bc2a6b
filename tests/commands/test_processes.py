"""Ranks: where their numbers come from, what they may use, and how their arguments are read."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from runs import Compose, DiskUsage

from miner.cli.arguments import as_launched
from miner.cli.checks import check_processes
from miner.config.job import MAIN_PROCESS, RankInfo, detect_rank
from miner.config.schema import RunConfig, check_config
from miner.engine.disk_space import scratch_for
from miner.engine.trainer import make_trainer
from miner.support.errors import ConfigError

Checked = Callable[..., RunConfig]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "GROUP_RANK": "1", "LOCAL_RANK": "3", "WORLD_SIZE": "8"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NODEID": "1", "SLURM_LOCALID": "3", "SLURM_JOB_NAME": "fit"}


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, MAIN_PROCESS),
        (TORCHRUN, RankInfo(1, 3, "torchrun", 8)),
        (SLURM, RankInfo(1, 3, "Slurm", 8)),
        (SLURM | TORCHRUN, RankInfo(1, 3, "torchrun", 8)),  # torchrun within a Slurm job
        (SLURM | {"SLURM_JOB_NAME": "interactive"}, MAIN_PROCESS),
        ({"LOCAL_RANK": "2"}, RankInfo(0, 2)),
        ({"NODE_RANK": "1"}, RankInfo(1, 0)),
    ],
)
def test_rank_is_read_from_the_launchers_variables(
    environment: Mapping[str, str], rank: RankInfo
) -> None:
    assert detect_rank(environment) == rank
    assert rank.is_first == (rank == MAIN_PROCESS)


@pytest.fixture
def checked(tiny_config: Compose) -> Checked:
    """Checked settings of a tiny run, with fields of the `trainer` group."""

    def check(**settings: object) -> RunConfig:
        overrides = [f"trainer.{name}={value}" for name, value in settings.items()]
        overrides.append("fitting.in_memory_mib=0")
        return check_config(tiny_config(*overrides))

    return check


DDP = {"strategy": "miner_ddp", "devices": 2}


@pytest.mark.parametrize(
    ("settings", "rank", "words"),
    [
        (DDP, RankInfo(0, 0, "torchrun", 4), ["devices=2 trainer.num_nodes=1:", "4 processes"]),
        (DDP, RankInfo(0, 0, "Slurm", 1), ["devices=2 trainer.num_nodes=1:", "1 processes"]),
        (DDP, RankInfo(0, 0, "torchrun", 2), ["hydra.run.dir", "2 processes", "share"]),
        (DDP, RankInfo(0, 2, "Slurm", 2), ["devices=2 trainer.num_nodes=1:", "number 2"]),
        ({}, RankInfo(0, 1, "torchrun", 2), ["add trainer=ddp"]),
    ],
)
def test_processes_that_are_no_run_are_refused(
    checked: Checked, settings: dict[str, object], rank: RankInfo, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_processes(checked(**settings), rank, is_folder_named=False)
    assert [word for word in words if word not in str(caught.value)] == []


def test_processes_in_one_named_folder_are_a_run(checked: Checked) -> None:
    settings = checked(strategy="miner_ddp", devices=2)
    check_processes(settings, RankInfo(0, 1, "torchrun", 2), is_folder_named=True)
    check_processes(settings, MAIN_PROCESS, is_folder_named=False)


@pytest.mark.parametrize("absent", ["NODE_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_machine_without_its_variables_is_refused(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    settings = checked(strategy="miner_ddp", num_nodes=2)
    check_processes(settings, MAIN_PROCESS, is_folder_named=True)
    monkeypatch.delenv(absent)
    with pytest.raises(ConfigError, match=f"num_nodes=2: {absent} not set on this machine;"):
        check_processes(settings, MAIN_PROCESS, is_folder_named=True)


def test_slurm_job_that_lightning_refuses_is_refused_in_a_line(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="Use `--ntasks-per-node=8`"):
        make_trainer(tiny_config("trainer=ddp", "trainer.devices=8").trainer)


def test_one_process_in_a_slurm_job_ignores_slurm(
    tiny_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(tiny_config().trainer)
    assert (trainer.world_size, trainer.global_rank) == (1, 0)


@pytest.mark.parametrize(
    "given",
    [
        ["--config-dir", "mine", "seed=1", "image.path='a b.png'"],
        ["--config-dir=mine"],
        ["seed=1", "hydra.run.dir=outputs/${now:%H}"],
    ],
)
@pytest.mark.parametrize("folder", ["run", "/a b/é (1)", "it's ${x}", 'say "so"', "back\\slash"])
def test_arguments_of_a_further_process_are_read_as_meant(given: list[str], folder: str) -> None:
    own = [
        f'hydra.run.dir="{folder}"',
        "hydra.job.name=train_ddp_process_1",
        "hydra.output_subdir=null",
    ]
    arguments = as_launched([*given, *own])
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    first = arguments.index(overrides[0])
    assert arguments[first : first + len(overrides)] == overrides
    parsed = OverridesParser.create().parse_overrides(overrides)
    values = {override.key_or_group: override.value() for override in parsed}
    assert str(values["hydra.run.dir"]).replace("\\${", "${") == folder
    assert ("seed" in values) == ("seed=1" in given)
    assert values["hydra.output_subdir"] is None
    typed = [*given, "hydra.output_subdir=null"]
    assert (as_launched(given), as_launched(typed)) == (given, typed)  # of the first process


def test_rank_0_clears_the_scratch_folders_of_all_ranks(checked: Checked, tmp_path: Path) -> None:
    settings = checked(strategy="miner_ddp", devices=2)
    first, other = (
        scratch_for(settings, tmp_path, rank) for rank in (MAIN_PROCESS, RankInfo(0, 1))
    )
    for scratch in (first, other):
        scratch.array("signal", (1, 2, 3), "float32")
    assert len(list((tmp_path / ".miner-scratch").rglob("signal.npy"))) == 2
    (tmp_path / ".miner-scratch" / ".rendered.npy.part").touch()
    with first:
        assert not (tmp_path / ".miner-scratch").exists()


def test_rank_0_checks_the_disk_space_of_all_ranks_and_counts_old_files_as_free(
    checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(99_999, 89_999, 10_000))
    scratch_for(checked(), tmp_path)
    many = checked(strategy="miner_ddp", devices=8)
    with pytest.raises(ConfigError, match=r"this image takes 0\.0 GiB"):
        scratch_for(many, tmp_path)
    scratch_for(many, tmp_path, RankInfo(0, 1))
    (tmp_path / ".miner-scratch").mkdir()
    (tmp_path / ".miner-scratch" / "old.npy").write_bytes(bytes(100_000))  # of a stopped run
    scratch_for(many, tmp_path)


@pytest.mark.parametrize(
    ("num_nodes", "disk", "setting"),
    [(1, "local", "fitting.scratch_dir"), (2, "run", "hydra.run.dir")],
)
def test_disk_space_of_tiles_is_checked_on_their_disk(
    tiny_config: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_nodes: int,
    disk: str,
    setting: str,
) -> None:
    """Several ranks store levels in tile files even if the image is held in memory."""
    trainer = ("trainer.strategy=miner_ddp", "trainer.devices=2", f"trainer.num_nodes={num_nodes}")
    config = tiny_config(*trainer, f"fitting.scratch_dir={tmp_path}/local")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(99, 98, 1))
    with pytest.raises(ConfigError, match=f"{tmp_path}/{disk}/.*with {setting}"):
        scratch_for(check_config(config), tmp_path / "run")
