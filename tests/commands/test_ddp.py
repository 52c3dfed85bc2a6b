"""Several processes on one image: the bits of one process, and all end if one fails."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from runs import ROOT, TINY, Outcome, read_report, run_main, same, save_picture

from miner.representation import read_manifest

SETTINGS = (*TINY, "fitting.blocks_per_shard=2", "fitting.coarse_ratio=1")
ODD = "odd (1) $é'x"
FINEST_FIRST = 1  # of two ranks, each writes one shard of the coarse level before


@dataclass(frozen=True)
class Ended(Outcome):
    """How a run of several processes ended; `left` are those that did not."""

    left: list[int]


def start(folder: Path, *command: str, failure: str | None = None) -> "subprocess.Popen[str]":
    """Start a command in a session of its own."""
    own = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(Path(__file__).parent)))}
    own |= {} if failure is None else {"FAILURE": failure}
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(started: "subprocess.Popen[str]", timeout_s: float = 150) -> Ended:
    output, _ = started.communicate(timeout=timeout_s)
    until = time.monotonic() + 5
    while (left := members(started.pid)) and time.monotonic() < until:
        time.sleep(0.1)
    return Ended(started.returncode, output, left)


def members(session: int) -> list[int]:
    """Processes of a session that still run."""
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def fit(folder: Path, *arguments: str, failure: str | None = None, devices: int = 2) -> Ended:
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={devices}")
    module = "miner.run" if failure is None else "failing_run"
    memory = () if failure is None else ("fitting.in_memory_mib=0",)
    return end(start(folder, module, *SETTINGS, *ddp, *memory, *arguments, failure=failure))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and, in `alone`, its run by one process."""
    folder = tmp_path_factory.mktemp("desk")
    save_picture(folder / "picture.png")
    path = "image.path=picture.png"
    assert run_main(folder, *SETTINGS, "trainer=cpu", path, "hydra.run.dir=alone") == 0
    return folder


@pytest.fixture(scope="module")
def killed(desk: Path) -> Iterator[Ended]:
    """A run of which a rank was killed in mid-level, in a folder with an odd name."""
    name = ODD.replace("'", r"\'")
    yield fit(
        desk,
        "image.path=picture.png",
        f"hydra.run.dir='{name}'",
        failure=f"1 {FINEST_FIRST} kill",
    )


def test_a_killed_rank_ends_the_run_with_one_message(desk: Path, killed: Ended) -> None:
    assert (killed.status, killed.left) == (1, [])
    (line,) = [line for line in killed.lines if line.startswith(("error", "warning"))]
    assert "rank 1 on" in line and "killed" in line and "resume=" in line
    assert "Traceback" not in killed.output
    report = read_report(desk / ODD)
    assert report["status"] == "failed" and report["reason"] in line


def test_finished_levels_of_a_killed_run_are_kept(desk: Path, killed: Ended) -> None:
    assert killed.status == 1
    assert list(read_manifest(desk / ODD / "representation").levels) == [1]


def test_two_ranks_go_on_and_have_the_bits_of_one(desk: Path, killed: Ended) -> None:
    assert killed.status == 1
    resumed = end(start(desk, "miner.run", f"resume={ODD}"))
    assert (resumed.status, resumed.left) == (0, [])
    report = read_report(desk / ODD)
    assert (report["world_size"], report["n_resumed_shards"]) == (2, 2)
    assert report["curve"]["seconds"] == sorted(report["curve"]["seconds"])
    assert same(desk / ODD, desk / "alone")
    assert sum("picture: 24x20 on cpu" in line for line in resumed.lines) == 1
    assert not list((desk / ODD).glob("machine*"))


@pytest.mark.slow
def test_four_ranks_have_the_bits_of_one(desk: Path) -> None:
    path = ("image.path=picture.png", "hydra.run.dir=four")
    ended = fit(desk, *path, "logger=[csv,tensorboard]", devices=4)
    assert (ended.status, ended.left) == (0, [])
    assert same(desk / "four", desk / "alone")
    assert len(list((desk / "four").rglob("metrics.csv"))) == 1
    events = list((desk / "four").rglob("events.out.*"))
    assert len({path.name.split(".")[-2] for path in events}) == 1  # by one process


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 3])
def test_any_number_of_ranks_goes_on(desk: Path, tmp_path: Path, devices: int) -> None:
    save_picture(tmp_path / "picture.png")
    run = ("image.path=picture.png", "hydra.run.dir=run")
    assert fit(tmp_path, *run, failure=f"0 {FINEST_FIRST} kill").status == -signal.SIGKILL
    trainer = ["trainer=cpu"] if devices == 1 else [f"trainer.devices={devices}"]
    ended = end(start(tmp_path, "miner.run", "resume=run", *trainer))
    assert (ended.status, ended.left) == (0, [])
    assert same(tmp_path / "run", desk / "alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "words"), [("fill_disk", "the disk is full"), ("fault", "ValueError: a fault")]
)
def test_the_error_of_a_failed_rank_is_reported(tmp_path: Path, failure: str, words: str) -> None:
    save_picture(tmp_path / "picture.png")
    run = ("image.path=picture.png", "hydra.run.dir=run")
    ended = fit(tmp_path, *run, failure=f"1 {FINEST_FIRST} {failure}")
    assert (ended.status, ended.left) == (1, [])
    (line,) = [line for line in ended.lines if line.startswith(("error", "warning"))]
    assert "rank 1 on" in line and words in line and "resume=" in line
    assert words in read_report(tmp_path / "run")["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("failure", ["interrupt", "terminate", "stop"])
def test_an_interruption_is_reported_once(tmp_path: Path, failure: str) -> None:
    save_picture(tmp_path / "picture.png")
    run = ("image.path=picture.png", "hydra.run.dir=run")
    ended = fit(tmp_path, *run, failure=f"1 {FINEST_FIRST} {failure}")
    assert (ended.status, ended.left) == (130, [])
    (line,) = [line for line in ended.lines if line.startswith(("error", "warning"))]
    assert line.startswith("warning: stopped; to go on: python -m miner.run resume=")


@pytest.mark.slow
def test_a_rank_that_is_lost_after_the_last_level_is_not_missed(desk: Path) -> None:
    ended = fit(desk, "image.path=picture.png", "hydra.run.dir=late", failure="1 end kill")
    assert (ended.status, ended.left) == (0, [])
    assert same(desk / "late", desk / "alone")


def on_two_machines(folder: Path, failure: str | None = None) -> list[Ended]:
    """Two machines with different working directories, images and scratch files."""
    started, port = [], free_port()
    for machine in (0, 1):
        own = folder / f"machine{machine}"
        own.mkdir()
        save_picture(own / "picture.png")
        launch = ("torch.distributed.run", "--nnodes=2", f"--node-rank={machine}")
        module = "miner.run" if failure is None else "failing_run"
        rendezvous = ("--master-addr=127.0.0.1", f"--master-port={port}", "-m", module)
        ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2")
        paths = ("image.path=picture.png", f"hydra.run.dir={folder}/run")
        command = (*launch, *rendezvous, *SETTINGS, *ddp, *paths, "fitting.scratch_dir=scratch")
        started.append(start(own, *command, failure=failure))
    return [end(one) for one in started]


@pytest.mark.slow
def test_machines_share_nothing_but_the_runs_folder(desk: Path, tmp_path: Path) -> None:
    outcomes = on_two_machines(tmp_path)
    assert [(one.status, one.left) for one in outcomes] == [(0, []), (0, [])]
    assert read_report(tmp_path / "run")["world_size"] == 2
    assert same(tmp_path / "run", desk / "alone")
    assert {path.name for path in (tmp_path / "machine1").iterdir()} == {"picture.png"}


@pytest.mark.slow
def test_machines_that_end_early_leave_no_files_on_their_disks(tmp_path: Path) -> None:
    first, other = on_two_machines(tmp_path, failure=f"0 {FINEST_FIRST} fault")
    assert "ValueError: a fault" in first.output and first.status == other.status == 1
    for machine in ("machine0", "machine1"):
        left = (tmp_path / machine / "scratch").rglob("*")
        assert [path for path in left if not path.is_dir()] == []


@pytest.mark.slow
def test_a_port_in_use_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_picture(tmp_path / "picture.png")
    with socket.create_server(("", 0)) as used:
        port = used.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        ended = fit(tmp_path, "image.path=picture.png", "hydra.run.dir=run")
    assert (ended.status, ended.left) == (1, [])
    (line,) = [line for line in ended.lines if line.startswith("error")]
    assert f"MASTER_PORT={port}: " in line and "a port that is free" in line
    assert "Traceback" not in ended.output


@pytest.mark.slow
def test_processes_without_a_common_folder_are_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "picture.png")
    launch = ("torch.distributed.run", "--nproc-per-node=2", "-m", "miner.run")
    ddp = ("trainer=ddp", "trainer.accelerator=cpu")
    ended = end(start(tmp_path, *launch, *SETTINGS, *ddp, "image.path=picture.png"))
    (line,) = [line for line in ended.lines if line.startswith("error: ")]
    assert "hydra.run.dir: each of 2 processes" in line and "hydra.run.dir=/shared" in line
    assert ended.status != 0 and [path.name for path in tmp_path.iterdir()] == ["picture.png"]
