"""Several processes on one image: the bits of one process, and all end if one fails."""

import os
import signal
import socket
import subprocess
import sys
import time
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
    """Start a command in a new session."""
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


def fit(
    folder: Path, run: str, *arguments: str, failure: str | None = None, devices: int = 2
) -> Ended:
    """Run the command in a folder, where a picture is saved; a rank may fail, see `failing_run`."""
    save_picture(folder / "picture.png")
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={devices}")
    own = ("image.path=picture.png", f"hydra.run.dir={run}", *arguments)
    module, disk = "miner.run", ()
    if failure is not None:
        module, disk = "failing_run", ("fitting.in_memory_mib=0",)
    return end(start(folder, module, *SETTINGS, *ddp, *own, *disk, failure=failure))


def check_line(ended: Ended, *words: str) -> str:
    """The one line of a run that ended with an error or a warning; it holds these words."""
    (line,) = [line for line in ended.lines if line.startswith(("error", "warning"))]
    assert [word for word in words if word not in line] == []
    assert ended.left == []
    return line


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and, in `alone`, its run by one process."""
    folder = tmp_path_factory.mktemp("desk")
    save_picture(folder / "picture.png")
    path = "image.path=picture.png"
    assert run_main(folder, *SETTINGS, "trainer=cpu", path, "hydra.run.dir=alone") == 0
    return folder


@pytest.fixture(scope="module")
def killed(desk: Path) -> Ended:
    """A run of which a rank was killed in mid-level, in a folder with an odd name."""
    name = ODD.replace("'", r"\'")
    return fit(desk, f"'{name}'", failure=f"1 {FINEST_FIRST} kill")


def test_a_killed_rank_ends_the_run_with_one_message(desk: Path, killed: Ended) -> None:
    assert killed.status == 1
    line = check_line(killed, "rank 1 on", "killed", "resume=")
    assert "Traceback" not in killed.output
    report = read_report(desk / ODD)
    assert report["status"] == "failed" and report["reason"] in line
    assert list(read_manifest(desk / ODD / "representation").levels) == [1]  # finished ones stay


def test_two_ranks_go_on_and_have_the_bits_of_one(desk: Path, killed: Ended) -> None:
    assert killed.status == 1
    resumed = end(start(desk, "miner.run", f"resume={ODD}"))
    assert (resumed.status, resumed.left) == (0, [])
    report = read_report(desk / ODD)
    assert (report["world_size"], report["n_resumed_shards"]) == (2, 3)
    assert report["curve"]["seconds"] == sorted(report["curve"]["seconds"])
    assert same(desk / ODD, desk / "alone")
    assert sum("picture: 24x20 on cpu" in line for line in resumed.lines) == 1
    assert not list((desk / ODD).glob("machine*"))


@pytest.mark.slow
def test_a_rank_may_be_slower_than_the_ranks_take_to_find_each_other(desk: Path) -> None:
    ended = fit(desk, "late", failure="1 late 30")
    assert (ended.status, ended.left) == (0, [])
    assert same(desk / "late", desk / "alone")


@pytest.mark.slow
def test_four_ranks_have_the_bits_of_one(desk: Path) -> None:
    ended = fit(desk, "four", "logger=[csv,tensorboard]", devices=4)
    assert (ended.status, ended.left) == (0, [])
    assert same(desk / "four", desk / "alone")
    assert len(list((desk / "four").rglob("metrics.csv"))) == 1
    events = list((desk / "four").rglob("events.out.*"))
    assert len({path.name.split(".")[-2] for path in events}) == 1  # by one process


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 3])
def test_any_number_of_ranks_goes_on(desk: Path, tmp_path: Path, devices: int) -> None:
    assert fit(tmp_path, "run", failure=f"0 {FINEST_FIRST} kill").status == -signal.SIGKILL
    trainer = ["trainer=cpu"] if devices == 1 else [f"trainer.devices={devices}"]
    ended = end(start(tmp_path, "miner.run", "resume=run", *trainer))
    assert (ended.status, ended.left) == (0, [])
    assert same(tmp_path / "run", desk / "alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        ("fill_disk", 1, ["error: rank 1 on", "the disk is full", "resume="]),
        ("fault", 1, ["error: rank 1 on", "ValueError: a fault", "resume="]),
        *(
            (name, 130, ["warning: stopped; to go on: python -m miner.run resume="])
            for name in ("interrupt", "terminate", "stop")
        ),
    ],
)
def test_the_failure_of_a_rank_is_reported_once(
    tmp_path: Path, failure: str, status: int, words: list[str]
) -> None:
    ended = fit(tmp_path, "run", failure=f"1 {FINEST_FIRST} {failure}")
    assert ended.status == status
    line = check_line(ended, *words)
    assert status == 130 or read_report(tmp_path / "run")["reason"] in line


@pytest.mark.slow
def test_a_rank_that_is_lost_after_the_last_level_is_not_missed(desk: Path) -> None:
    ended = fit(desk, "late", failure="1 end kill")
    assert (ended.status, ended.left) == (0, [])
    assert same(desk / "late", desk / "alone")


@pytest.mark.slow
def test_a_killed_rank_ends_a_run_under_torchrun(desk: Path, tmp_path: Path) -> None:
    save_picture(tmp_path / "picture.png")
    launch = ("torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}")
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    own = ("image.path=picture.png", "hydra.run.dir=run", "fitting.in_memory_mib=0")
    command = (*launch, "-m", "failing_run", *SETTINGS, *ddp, *own)
    ended = end(start(tmp_path, *command, failure=f"1 {FINEST_FIRST} kill"), timeout_s=60)
    assert ended.status == 1
    line = check_line(ended, "rank 1 on", "killed", "resume=")
    report = read_report(tmp_path / "run")
    assert report["status"] == "failed" and report["reason"] in line
    assert list((tmp_path / "run" / ".miner-scratch").rglob("*.*")) == []
    resumed = end(start(tmp_path, "miner.run", "resume=run", "trainer=cpu"))
    assert (resumed.status, resumed.left) == (0, [])
    assert same(tmp_path / "run", desk / "alone")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def on_two_machines(folder: Path, failure: str | None = None) -> list[Ended]:
    """Two machines with different working directories, images and scratch files."""
    started = []
    port = free_port()
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
    with socket.create_server(("", 0)) as used:
        port = used.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        ended = fit(tmp_path, "run")
    assert ended.status == 1
    check_line(ended, f"MASTER_PORT={port}: ", "a port that is free")
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
