"""Arrays in files behave as arrays in memory, have their disk space, and are removed."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest

from miner.signals.scratch import Scratch, open_npy


def test_file_keeps_what_is_written(tmp_path: Path) -> None:
    with Scratch(tmp_path / "s") as scratch, Scratch(None) as memory:
        arrays = [one.array("a", (3, 20, 30), np.float32) for one in (scratch, memory)]
        for number, index in enumerate([np.s_[:, 2:9, 5:30], np.s_[1:2, :, 0:1], np.s_[:, 8:20]]):
            for array in arrays:
                array[np.s_[:, :, :]] = array[np.s_[:, :, :]] if number else 0
                array[index] = number + 0.5
        np.testing.assert_array_equal(*(array[np.s_[:, :, :]] for array in arrays))


def test_what_is_read_is_a_copy(tmp_path: Path) -> None:
    file = Scratch(tmp_path).array("a", (4,), np.uint8)
    file[np.s_[:]] = 1
    read = file[np.s_[1:3]]
    read[:] = 9
    assert file[np.s_[:]].tolist() == [1, 1, 1, 1]


def test_disk_space_is_reserved_when_the_file_is_made(tmp_path: Path) -> None:
    Scratch(tmp_path).array("a", (1000, 1000), np.float32)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 4_000_000


def test_a_full_disk_fails_when_the_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with Scratch(tmp_path / "s") as scratch, pytest.raises(OSError, match="No space left"):
        scratch.array("a", (9,), np.float32)
    assert not (tmp_path / "s").exists()


def test_scratch_files_are_removed_with_those_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "old.npy").touch()
    with Scratch(tmp_path / "s") as scratch:
        assert not (tmp_path / "s").exists()
        scratch.array("new", (2,), np.uint8)
        scratch.remove("new")
        assert list((tmp_path / "s").iterdir()) == []
    assert list(tmp_path.iterdir()) == []


PICKLED = io.BytesIO()
np.save(PICKLED, np.array([object()], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array", PICKLED.getvalue()])
def test_a_file_that_is_damaged_or_pickled_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises((ValueError, EOFError)):
        open_npy(tmp_path / "a.npy")
