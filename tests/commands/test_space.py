"""Large arrays go to a disk that has room for them; a full disk costs nothing that is finished."""

import errno
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from runs import Command, read_report, run_main

import miner
from miner.representation import Shard, ShardFile, ShardFolder
from miner.signals.scratch import Scratch

ON_DISK = "fitting.in_memory_mib=0"
RUN = ("hydra.run.dir=run", "fitting.coarse_ratio=1")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Folders of the scratch arrays that are made."""
    made: list[Path | None] = []
    array = Scratch.array

    def watched(self: Scratch, *arguments: Any) -> Any:
        made.append(self._folder)
        return array(self, *arguments)

    monkeypatch.setattr(Scratch, "array", watched)
    return made


def test_small_image_stays_in_memory(command: Command, arrays: list[Path | None]) -> None:
    assert command(*RUN).status == 0
    assert set(arrays) == {None}


def test_run_on_disk_has_the_bits_of_one_in_memory(
    tmp_path: Path, command: Command, arrays: list[Path | None]
) -> None:
    assert command("hydra.run.dir=memory", *RUN[1:]).status == 0
    del arrays[:]
    assert command(*RUN, ON_DISK).status == 0
    assert set(arrays) == {tmp_path / "run" / ".miner-scratch"}
    assert not (tmp_path / "run" / ".miner-scratch").exists()
    one, other = (miner.load(tmp_path / name) for name in ("run", "memory"))
    assert torch.equal(one.reconstruct(), other.reconstruct())
    reports = [read_report(tmp_path / name) for name in ("run", "memory")]
    assert reports[0]["ssim"] == reports[1]["ssim"]
    pictures = [(tmp_path / n / "reconstruction.png").read_bytes() for n in ("run", "memory")]
    assert pictures[0] == pictures[1]


def test_scratch_goes_where_it_is_told(
    tmp_path: Path, command: Command, arrays: list[Path | None]
) -> None:
    assert command(*RUN, ON_DISK, "fitting.scratch_dir=elsewhere").status == 0
    (folder,) = set(arrays)
    assert folder is not None and folder.parent == Path("elsewhere")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_disk_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(99, 98, 1))
    (line,) = command(*RUN, ON_DISK).lines
    assert "run/.miner-scratch: the disk has 0.0 GiB free" in line and "fitting.scratch_dir" in line
    assert not (tmp_path / "run").exists()


def test_disk_that_fills_up_costs_nothing_that_is_finished(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ShardFolder.write

    def full(self: ShardFolder, shard: Shard, basis: str) -> ShardFile:
        if shard.level == 0:
            raise OSError(errno.ENOSPC, "No space left on device", "level00.safetensors")
        return write(self, shard, basis)

    with monkeypatch.context() as patch:
        patch.setattr(ShardFolder, "write", full)
        outcome = command(*RUN)
    assert outcome.status == 1
    assert "Traceback" not in outcome.output
    assert "level00.safetensors: the disk is full" in outcome.lines[-1]
    assert "resume=" in outcome.lines[-1]
    assert list(miner.load(tmp_path / "run").shards) == [1]
    assert run_main(tmp_path, "resume=run") == 0
    assert read_report(tmp_path / "run")["n_resumed_shards"] == 1
