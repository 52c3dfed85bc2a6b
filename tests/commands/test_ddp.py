"""Several processes on one image: the bits of one process, and all end if one fails."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from runs import ROOT, TINY, Outcome, read_report, run_main, same, save_picture

from miner.representation.spec import Manifest

DDP = ("trainer=ddp", "trainer.accelerator=cpu", "image.path=picture.png")
SETTINGS = (*TINY, *DDP, "fitting.blocks_per_shard=2", "level_selection.coarse_ratio=1")
ODD = "odd (1) $é'x"
FINEST_FIRST = 1  # of two ranks, each writes one shard of the coarse level before
TORCHRUN = "torch.distributed.run"
ON_ONE_MACHINE = (TORCHRUN, "--standalone", "--nproc-per-node=2", "-m", "miner.run")


@dataclass(frozen=True)
class Ended(Outcome):
    """How a run of several processes ended; `left` are those that did not."""

    left: list[int]


def start(folder: Path, *command: str, failure: str | None = None) -> "subprocess.Popen[str]":
    """Start a module in a new session, in a folder where a picture is saved.

    If a rank is to fail, `failing_run` is started in place of `miner.run`.
    """
    save_picture(folder / "picture.png")
    own = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(Path(__file__).parent)))}
    if failure is not None:
        own["FAILURE"] = failure
        command = ("failing_run" if one == "miner.run" else one for one in command)
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def end(started: "subprocess.Popen[str]") -> Ended:
    """Wait for a process, and 30 seconds longer for all that it has started."""
    output, _ = started.communicate(timeout=150)
    until = time.monotonic() + 30
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


def fit(folder: Path, run: str, *arguments: str, failure: str | None = None) -> Ended:
    """Fit the picture by two processes, of which one may fail, with scratch files."""
    own = (f"hydra.run.dir={run}", "fitting.in_memory_mib=0", *arguments)
    return end(start(folder, "miner.run", *SETTINGS, *own, failure=failure))


def resume(folder: Path, run: str, *arguments: str) -> Ended:
    return end(start(folder, "miner.run", f"resume={run}", *arguments))


def check_line(ended: Ended, *words: str) -> str:
    """The one line of a run that ended with an error or a warning; it holds these words."""
    (line,) = [line for line in ended.lines if line.startswith(("error", "warning"))]
    assert [word for word in words if word not in line] == []
    assert ended.left == []
    return line


def check_same(ended: Ended, folder: Path, other: Path) -> None:
    """Check that all processes have ended, and made a run with the bits of another one."""
    assert (ended.status, ended.left) == (0, [])
    assert same(folder, other)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and, in `alone`, its run by one process."""
    folder = tmp_path_factory.mktemp("desk")
    save_picture(folder / "picture.png")
    assert run_main(folder, *SETTINGS, "trainer=cpu", "hydra.run.dir=alone") == 0
    return folder


@pytest.fixture(scope="module")
def killed(desk: Path) -> Ended:
    """A run of which a rank was killed in mid-level, in a folder with an odd name."""
    name = ODD.replace("'", r"\'")
    return fit(desk, f"'{name}'", failure=f"1 {FINEST_FIRST} kill")


@pytest.mark.slow
def test_a_killed_rank_ends_the_run_with_one_message(desk: Path, killed: Ended) -> None:
    assert killed.status == 1
    line = check_line(killed, "rank 1 on", "killed", "resume=")
    assert "Traceback" not in killed.output
    report = read_report(desk / ODD)
    assert report["status"] == "failed" and report["reason"] in line
    assert list(Manifest.read(desk / ODD / "representation").levels) == [1]  # finished ones stay


@pytest.mark.slow
@pytest.mark.usefixtures("killed")
def test_two_ranks_go_on_and_have_the_bits_of_one(desk: Path) -> None:
    resumed = resume(desk, ODD)
    check_same(resumed, desk / ODD, desk / "alone")
    report = read_report(desk / ODD)
    # Rank 0 has stopped after the first of its chunks of the finest level.
    assert (report["world_size"], report["n_resumed_shards"]) == (2, 3)
    assert report["curve"]["seconds"] == sorted(report["curve"]["seconds"])
    assert (
        sum(
            "picture: 24x20, 3 channels, uint8, range 0-255 on cpu" in line
            for line in resumed.lines
        )
        == 1
    )
    assert not list((desk / ODD).glob("machine*"))


@pytest.mark.slow
def test_a_rank_may_be_slower_than_the_ranks_take_to_find_each_other(desk: Path) -> None:
    late = ("trainer.callbacks=[{_target_:failing_run.Late}]", "fitting.in_memory_mib=64")
    check_same(fit(desk, "late", *late), desk / "late", desk / "alone")


@pytest.mark.slow
def test_ranks_share_the_scores_and_pictures_of_many_tiles(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2100, 24, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "tall.png")
    settings = [one for one in SETTINGS if "pictures" not in one and "image" not in one]
    settings.append("image.path=tall.png")
    assert run_main(tmp_path, *settings, "trainer=cpu", "hydra.run.dir=one") == 0
    ended = end(start(tmp_path, "miner.run", *settings, "hydra.run.dir=two"))
    check_same(ended, tmp_path / "two", tmp_path / "one")
    for name in ("blocks.png", "error.png", "thumbnails/reconstruction.webp"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.slow
def test_four_ranks_have_the_bits_of_one(desk: Path) -> None:
    ended = fit(desk, "four", "logger=[csv,tensorboard]", "trainer.devices=4")
    check_same(ended, desk / "four", desk / "alone")
    assert len(list((desk / "four").rglob("metrics.csv"))) == 1
    events = list((desk / "four").rglob("events.out.*"))
    assert len({path.name.split(".")[-2] for path in events}) == 1  # by one process


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["trainer=cpu", "trainer.devices=3"])
def test_any_number_of_ranks_goes_on(desk: Path, tmp_path: Path, trainer: str) -> None:
    ended = fit(tmp_path, "run", failure=f"0 {FINEST_FIRST} kill")
    assert (ended.status, ended.left) == (-signal.SIGKILL, [])
    check_same(resume(tmp_path, "run", trainer), tmp_path / "run", desk / "alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (f"{FINEST_FIRST} fill_disk", 1, ["error: rank 1 on", "the disk is full", "resume="]),
        (f"{FINEST_FIRST} fault", 1, ["error: rank 1 on", "ValueError: a fault", "resume="]),
        ("last kill", 1, ["error: rank 1 on", "killed", "resume="]),
        *(
            (f"{FINEST_FIRST} {name}", 130, ["warning: stopped; to go on: python -m", "resume="])
            for name in ("interrupt", "terminate", "stop")
        ),
    ],
)
def test_the_failure_of_a_rank_is_reported_once(
    tmp_path: Path, failure: str, status: int, words: list[str]
) -> None:
    ended = fit(tmp_path, "run", failure=f"1 {failure}")
    assert ended.status == status
    line = check_line(ended, *words)
    assert status == 130 or read_report(tmp_path / "run")["reason"] in line


@pytest.mark.slow
def test_a_rank_0_that_is_killed_before_the_ranks_meet_ends_all(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = fit(tmp_path, "run", failure="0 first kill")
    assert ended.status == -signal.SIGKILL and time.monotonic() - began < 60
    check_line(ended, "the process that started this rank", "killed")


@pytest.mark.slow
def test_a_rank_that_is_lost_after_the_last_level_is_not_missed(desk: Path) -> None:
    check_same(fit(desk, "end", failure="1 after kill"), desk / "end", desk / "alone")


@pytest.mark.slow
def test_a_killed_rank_ends_a_run_under_torchrun(desk: Path, tmp_path: Path) -> None:
    own = ("hydra.run.dir=run", "fitting.in_memory_mib=0")
    began = time.monotonic()
    failure = f"1 {FINEST_FIRST} kill"
    ended = end(start(tmp_path, *ON_ONE_MACHINE, *SETTINGS, *own, failure=failure))
    assert ended.status == 1 and time.monotonic() - began < 60
    line = check_line(ended, "rank 1 on", "killed", "resume=")
    report = read_report(tmp_path / "run")
    assert report["status"] == "failed" and report["reason"] in line
    assert list((tmp_path / "run" / ".miner-scratch").rglob("*.*")) == []
    check_same(resume(tmp_path, "run", "trainer=cpu"), tmp_path / "run", desk / "alone")


def on_two_machines(folder: Path, failure: str | None = None) -> list[Ended]:
    """Two machines with different working directories, images and scratch files."""
    started = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for machine in (0, 1):
        own = folder / f"machine{machine}"
        own.mkdir()
        rendezvous = ("--nnodes=2", "--master-addr=127.0.0.1", f"--master-port={port}")
        launch = (TORCHRUN, *rendezvous, f"--node-rank={machine}", "-m", "miner.run")
        ddp = ("trainer.devices=1", "trainer.num_nodes=2")
        paths = (f"hydra.run.dir={folder}/run", "fitting.scratch_dir=scratch")
        disk = () if failure is None else ("fitting.in_memory_mib=0",)
        command = (*launch, *SETTINGS, *ddp, *paths, *disk)
        started.append(start(own, *command, failure=failure))
    return [end(one) for one in started]


@pytest.mark.slow
def test_machines_share_nothing_but_the_runs_folder(desk: Path, tmp_path: Path) -> None:
    for ended in on_two_machines(tmp_path):
        check_same(ended, tmp_path / "run", desk / "alone")
    assert read_report(tmp_path / "run")["world_size"] == 2
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
    ended = end(start(tmp_path, *ON_ONE_MACHINE, *SETTINGS))
    (line,) = {line for line in ended.lines if line.startswith("error: ")}
    assert "hydra.run.dir: each of 2 processes" in line and "hydra.run.dir=/shared" in line
    assert ended.status != 0 and [path.name for path in tmp_path.iterdir()] == ["picture.png"]
