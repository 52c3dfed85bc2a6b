"""Habits of batch systems, terminals and Hydra's users: signals, working folders."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import TINY, Command, read_report, run_main, save_picture

SLOW_RUN = (*TINY, "image=camera", "image.crop_px=64", "hydra.run.dir=run", "backend=eager")
LONG = ("fitting.blocks_per_shard=1", "fitting.max_steps=200", "level_selection.coarse_ratio=1")
LAST = "stopped; to go on: python -m miner.run resume="


def command_line(*words: str) -> list[str]:
    return [*words, sys.executable, "-m", "miner.run", *SLOW_RUN, *LONG]


def wait_for_a_shard(folder: Path, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 100
    while not list(folder.glob("run/representation/*.safetensors")):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.05)


def ended(folder: Path, sent: signal.Signals, *words: str) -> tuple[int, str]:
    """Status and output of a run that gets a signal while it fits."""
    line = command_line(*words)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(line, cwd=folder, **pipes) as process:
        wait_for_a_shard(folder, process)
        for _ in range(2):  # as a lost terminal and its shell do
            process.send_signal(sent)
        said = process.communicate(timeout=100)[0]
    return process.returncode, said


@pytest.mark.parametrize(
    "sent",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),  # a lost terminal sends it, too
        pytest.param(signal.SIGUSR1, marks=pytest.mark.slow),
    ],
)
def test_signal_ends_a_run_with_how_to_go_on(tmp_path: Path, sent: signal.Signals) -> None:
    status, said = ended(tmp_path, sent)
    assert status == 130
    assert LAST in said.strip().splitlines()[-1]
    assert "Traceback" not in said


@pytest.mark.slow
def test_nohup_keeps_a_run_alive(tmp_path: Path) -> None:
    status, said = ended(tmp_path, signal.SIGHUP, "nohup")
    assert status == 0
    assert "PSNR" in said


@pytest.mark.slow
def test_a_lost_terminal_leaves_the_last_line_in_the_log(tmp_path: Path) -> None:
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        line = command_line()
        os.execv(line[0], line)
    wait_for_a_shard(tmp_path)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130
    assert LAST in (tmp_path / "run" / "run.log").read_text().splitlines()[-1]


@pytest.mark.slow
def test_hydras_working_folder_changes_no_result(tmp_path: Path, command: Command) -> None:
    for name in ("plain", "changed"):
        given = ("image.path=./picture.png", f"hydra.run.dir={name}", "fitting.scratch_dir=scratch")
        large = "fitting.in_memory_mib=0"
        assert command(*given, large, f"hydra.job.chdir={name == 'changed'}").status == 0
    plain, changed = (read_report(tmp_path / name) for name in ("plain", "changed"))
    assert (plain["psnr_db"], plain["hash"]) == (changed["psnr_db"], changed["hash"])
    assert not list(tmp_path.rglob("changed/scratch"))
    (tmp_path / "changed" / "report.json").unlink()
    assert run_main(tmp_path, "resume=changed", "hydra.job.chdir=true") == 0


@pytest.mark.slow
def test_hydras_working_folder_changes_no_sweep(tmp_path: Path, command: Command) -> None:
    given = ("-m", "image.path=./picture.png", "hydra.sweep.dir=sweep", "seed=0,1")
    assert command(*given, "hydra.job.chdir=true").status == 0
    reports = [read_report(path.parent) for path in tmp_path.glob("sweep/*/report.json")]
    assert [report["status"] for report in reports] == ["finished"] * 2


def test_images_that_cannot_be_read_are_named_at_the_end_of_a_sweep(
    tmp_path: Path, command: Command
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    save_picture(album / "a.png")
    for name in ("notes.txt", "a.xmp"):
        (album / name).write_text("no image")
    sweep = ("-m", "image.path=album", "hydra.sweep.dir=sweep")
    done = command(*sweep)
    assert done.status == 0
    assert "cannot be read" not in done.lines[-1]
    (album / "it's ${x}.jpg").touch()  # by its suffix
    (album / "cut").write_bytes((album / "a.png").read_bytes()[:20])  # by its content
    done = command(*sweep)
    assert done.status == 1
    expected = "left out 2 images that cannot be read: album/cut, album/it's $ {x}.jpg"
    assert done.lines[-1] == expected
    (report,) = (tmp_path / "sweep").glob("*/report.json")
    assert json.loads(report.read_text())["status"] == "finished"
