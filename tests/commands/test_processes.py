"""Which process this is, what it may ask for, and how its command reaches it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from runs import Compose

from miner.cli.arguments import as_launched
from miner.cli.checks import check_devices, check_processes
from miner.cli.resume import resume_arguments
from miner.config.job import MAIN_PROCESS, RankInfo, detect_rank
from miner.config.schema import RunConfig, check_config
from miner.engine.disk_space import scratch_for
from miner.engine.trainer import make_trainer
from miner.signals.scratch import Scratch
from miner.support.errors import ConfigError

Checked = Callable[..., RunConfig]
TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "GROUP_RANK": "1", "LOCAL_RANK": "3", "WORLD_SIZE": "8"}
SLURM = {"SLURM_NTASKS": "8", "SLURM_NODEID": "1", "SLURM_LOCALID": "3", "SLURM_JOB_NAME": "fit"}


@pytest.mark.parametrize(
    ("environment", "place"),
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
def test_place_is_what_the_starter_says(environment: Mapping[str, str], place: RankInfo) -> None:
    assert detect_rank(environment) == place
    assert place.is_first == (place == MAIN_PROCESS)


@pytest.fixture
def checked(tiny_config: Compose) -> Checked:
    """Checked settings of a tiny run, with fields of the `trainer` group."""

    def check(**settings: object) -> RunConfig:
        overrides = [f"trainer.{name}={value}" for name, value in settings.items()]
        overrides.append("fitting.in_memory_mib=0")
        return check_config(tiny_config(*overrides))

    return check


PROCESSES = {  # who has started how many, and what must be said
    RankInfo(0, 0, "torchrun", 4): ["trainer.devices=2 trainer.num_nodes=1:", "4 processes"],
    RankInfo(0, 0, "Slurm", 1): ["trainer.devices=2 trainer.num_nodes=1:", "1 processes"],
    RankInfo(0, 0, "torchrun", 2): ["hydra.run.dir", "2 processes", "share"],
}


@pytest.mark.parametrize("place", PROCESSES)
def test_processes_that_are_no_run_are_refused(checked: Checked, place: RankInfo) -> None:
    with pytest.raises(ConfigError) as caught:
        check_processes(checked(strategy="ddp", devices=2), place, is_folder_named=False)
    assert [words for words in PROCESSES[place] if words not in str(caught.value)] == []


def test_more_processes_than_cores_are_told_of_once(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda only_physical_cores: 2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    settings = checked(strategy="ddp", devices=3)
    for local in (0, 1):
        check_processes(settings, RankInfo(0, local), is_folder_named=False)
    assert [record.getMessage() for record in caplog.records] == [
        "3 processes share the 2 cores of this machine"
    ]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # somebody has thought of it
    check_processes(settings, MAIN_PROCESS, is_folder_named=False)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("absent", ["NODE_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_machine_that_is_not_told_its_place_is_refused(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, absent: str
) -> None:
    for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    settings = checked(strategy="ddp", num_nodes=2)
    check_processes(settings, MAIN_PROCESS, is_folder_named=True)
    monkeypatch.delenv(absent)
    with pytest.raises(ConfigError, match=f"num_nodes=2: this machine is not told {absent};"):
        check_processes(settings, MAIN_PROCESS, is_folder_named=True)


def test_slurm_that_does_not_tell_tasks_of_a_machine_is_refused(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, place = checked(strategy="ddp", devices=2), RankInfo(0, 0, "Slurm", 2)
    monkeypatch.setenv("SLURM_NNODES", "1")
    with pytest.raises(ConfigError, match=r"devices=2: .* not set; .*--ntasks-per-node=2"):
        check_processes(settings, place, is_folder_named=True)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    check_processes(settings, place, is_folder_named=True)
    monkeypatch.setenv("SLURM_NNODES", "2")
    with pytest.raises(ConfigError, match=r"num_nodes=1: SLURM_NNODES is 2; .*--nodes=1"):
        check_processes(settings, place, is_folder_named=True)


def test_one_process_in_a_slurm_job_asks_slurm_nothing(
    tmp_path: Path, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    trainer = make_trainer(1, checked().trainer.model_dump(), [], tmp_path)
    assert (trainer.world_size, trainer.global_rank) == (1, 0)


def test_torchrun_without_ddp_is_refused(checked: Checked) -> None:
    with pytest.raises(ConfigError, match="add trainer=ddp"):
        check_processes(checked(), RankInfo(0, 1, "torchrun", 2), is_folder_named=True)


def test_processes_in_one_named_folder_are_a_run(checked: Checked) -> None:
    settings = checked(strategy="ddp", devices=2)
    check_processes(settings, RankInfo(0, 1, "torchrun", 2), is_folder_named=True)
    check_processes(settings, MAIN_PROCESS, is_folder_named=False)


def test_more_gpus_than_there_are_is_refused(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(checked(strategy="ddp", devices=2, accelerator="auto"))
    with pytest.raises(ConfigError, match=r"trainer.devices=3: this process sees 2 GPUs"):
        check_devices(checked(strategy="ddp", devices=3, accelerator="auto"))


@pytest.mark.parametrize(
    "given",
    [
        ["seed=1", "image.path='a b.png'", "--config-dir", "mine"],
        ["--config-dir", "mine", "seed=1"],
        ["--config-dir=mine"],
        ["seed=1", "hydra.run.dir=outputs/${now:%H}"],
    ],
)
@pytest.mark.parametrize("folder", ["run", "/a b/é (1)", "it's ${x}", 'say "so"', "back\\slash"])
def test_arguments_of_a_further_process_are_read_as_meant(given: list[str], folder: str) -> None:
    own = [f'hydra.run.dir="{folder}"', "hydra.job.name=train_1", "hydra.output_subdir=null"]
    arguments = as_launched([*given, *own])
    overrides = [a for a in arguments if "=" in a and not a.startswith("-")]
    first = arguments.index(overrides[0])
    assert arguments[first : first + len(overrides)] == overrides
    values = {
        o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(overrides)
    }
    assert str(values["hydra.run.dir"]).replace("\\${", "${") == folder
    assert ("seed" in values) == ("seed=1" in given)
    assert values["hydra.output_subdir"] is None


def test_other_arguments_are_left_as_they_are() -> None:
    assert as_launched(["seed=1", "hydra.run.dir=x"]) == ["seed=1", "hydra.run.dir=x"]


def test_another_trainer_takes_the_place_of_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ["seed=1", "trainer=ddp", "trainer.devices=4"]
    monkeypatch.setattr("miner.cli.resume._settings_of", lambda folder: settings)
    folder = f"hydra.run.dir='{tmp_path}'"
    assert resume_arguments([f"resume={tmp_path}", "trainer=cpu"]) == [
        "seed=1",
        folder,
        "trainer=cpu",
    ]
    assert resume_arguments([f"resume={tmp_path}", "trainer.devices=2"]) == [
        "seed=1",
        "trainer=ddp",
        folder,
        "trainer.devices=2",
    ]


def test_ranks_have_scratch_folders_of_their_own_and_the_first_clears_all(
    checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = checked(strategy="ddp", devices=2)
    first, other = (
        scratch_for(settings, tmp_path, place) for place in (MAIN_PROCESS, RankInfo(0, 1))
    )
    for scratch in (first, other):
        scratch.array("signal", (1, 2, 3), "float32")
    assert len(list((tmp_path / ".miner-scratch").rglob("signal.npy"))) == 2
    (tmp_path / ".miner-scratch" / ".rendered.npy.part").touch()
    with first:
        assert not (tmp_path / ".miner-scratch").exists()


def test_room_for_all_ranks_is_looked_for(
    checked: Checked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed: list[int] = []
    monkeypatch.setattr(
        "miner.engine.disk_space._free_bytes", lambda place: needed.append(1) or 10_000
    )
    assert isinstance(scratch_for(checked(), tmp_path), Scratch)
    many = checked(strategy="ddp", devices=8)
    with pytest.raises(ConfigError, match=r"this image takes 0\.0 GiB"):
        scratch_for(many, tmp_path)
    scratch_for(many, tmp_path, RankInfo(0, 1))  # the first has looked
    assert len(needed) == 2


@pytest.mark.parametrize(
    ("num_nodes", "where", "setting"),
    [(1, "local", "fitting.scratch_dir"), (2, "run", "hydra.run.dir")],
)
def test_room_for_tiles_is_looked_for_where_they_lie(
    tiny_config: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_nodes: int,
    where: str,
    setting: str,
) -> None:
    """An image that is held in memory has its levels in tile files all the same."""
    trainer = ("trainer.strategy=ddp", "trainer.devices=2", f"trainer.num_nodes={num_nodes}")
    config = tiny_config(*trainer, f"fitting.scratch_dir={tmp_path}/local")
    monkeypatch.setattr("miner.engine.disk_space._free_bytes", lambda place: 1)
    with pytest.raises(ConfigError, match=f"{tmp_path}/{where}/.*with {setting}"):
        scratch_for(check_config(config), tmp_path / "run")
