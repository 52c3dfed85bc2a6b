"""Large arrays go to a disk with enough space; a full disk costs nothing that is finished."""

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import Command, DiskUsage, before_shards, read_report, run_main, same

import miner

ON_DISK = "fitting.in_memory_mib=0"
RUN = ("hydra.run.dir=run", "level_selection.coarse_ratio=1")


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Folders in which scratch arrays are made."""
    found: set[Path] = set()
    make = np.lib.format.open_memmap

    def watched(path: Path, *arguments: Any, **options: Any) -> Any:
        found.add(Path(path).parent)
        return make(path, *arguments, **options)

    monkeypatch.setattr(np.lib.format, "open_memmap", watched)
    return found


@pytest.mark.slow
def test_run_on_disk_has_the_bits_of_one_in_memory(
    tmp_path: Path, command: Command, folders: set[Path]
) -> None:
    assert command("hydra.run.dir=memory", *RUN[1:]).status == 0
    assert folders == set()
    assert command(*RUN, ON_DISK).status == 0
    assert folders == {tmp_path / "run" / ".miner-scratch"}
    assert not (tmp_path / "run" / ".miner-scratch").exists()
    assert same(tmp_path / "run", tmp_path / "memory")


def test_scratch_files_are_below_the_folder_that_is_set(
    tmp_path: Path, command: Command, folders: set[Path]
) -> None:
    assert command(*RUN, ON_DISK, "fitting.scratch_dir=elsewhere").status == 0
    assert {folder.parent for folder in folders} == {Path("elsewhere")}
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_too_small_disk_is_refused_before_anything_is_written(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(99, 98, 1))
    (line,) = command(*RUN, ON_DISK).lines
    assert "run: " in line and "cannot be written (no space left)" in line
    monkeypatch.setattr(shutil, "disk_usage", lambda path: DiskUsage(2**21, 2**20, 2**20))
    (line,) = command(*RUN, ON_DISK, "image.path=sample:astronaut").lines
    assert "run/.miner-scratch: the disk has 0.0 GiB free" in line and "fitting.scratch_dir" in line
    assert not (tmp_path / "run").exists()


def test_full_disk_costs_nothing_that_is_finished(tmp_path: Path, command: Command) -> None:
    def fill(n_before: int, path: Path) -> None:
        if path.name.startswith("level00"):
            raise OSError(errno.ENOSPC, "No space left on device", "level00.safetensors")

    with pytest.MonkeyPatch.context() as patch:
        before_shards(patch, fill)
        outcome = command(*RUN)
    assert outcome.status == 1
    assert "Traceback" not in outcome.output
    assert "level00.safetensors: the disk is full" in outcome.lines[-1]
    assert "resume=" in outcome.lines[-1]
    assert list(miner.load(tmp_path / "run").shards) == [1]
    assert run_main(tmp_path, "resume=run") == 0
    assert read_report(tmp_path / "run")["n_resumed_shards"] == 1
