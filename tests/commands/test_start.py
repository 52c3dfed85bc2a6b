"""A terminal is told at once that something goes on; what is piped is not."""

import os
import pty
import sys
from pathlib import Path

import pytest
from runs import TINY

COMMAND = [sys.executable, "-m", "miner.run"]


def typescript(*arguments: str) -> str:
    """What a command prints on a terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*COMMAND, *arguments])
    parts = []
    try:
        while part := os.read(terminal, 4096):
            parts.append(part)
    except OSError:  # the end, on Linux
        pass
    os.waitpid(process, 0)
    os.close(terminal)
    return b"".join(parts).decode()


@pytest.mark.slow
def test_a_terminal_sees_that_a_run_starts(picture: Path, tmp_path: Path) -> None:
    shown = typescript(*TINY, f"image.path='{picture}'", f"hydra.run.dir={tmp_path}/run")
    assert shown.startswith("starting\rpicture: 24x20, 3 channels, uint8, range 0-255 on cpu")
    assert shown.count("starting") == 1
    assert "starting" not in (tmp_path / "run" / "run.log").read_text()


@pytest.mark.parametrize(
    "flag",
    [
        ["--cfg", "job"],
        *(pytest.param([f], marks=pytest.mark.slow) for f in ("--help", "--hydra-help")),
    ],
)
def test_other_flags_print_what_they_are_for(flag: list[str]) -> None:
    shown = typescript(*flag)
    assert shown
    assert "starting" not in shown.partition("\n")[0]
