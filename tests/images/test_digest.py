"""A digest tells contents, is of all of a folder, and is computed once."""

import hashlib
from pathlib import Path

import pytest

from miner.images import file_digest


def test_digest_of_a_file_is_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"content")
    digest = file_digest(tmp_path / "a")
    monkeypatch.setattr(Path, "open", None)
    assert file_digest(tmp_path / "a") == digest


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    before = file_digest(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"other content")
    assert file_digest(tmp_path / "a") != before


@pytest.mark.parametrize("change", ["content", "name", "more", "less"])
def test_digest_of_a_folder_tells_any_change(tmp_path: Path, change: str) -> None:
    for name in ("zarr.json", "c/0/0", "c/0/1"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    before = file_digest(tmp_path)
    assert before == file_digest(tmp_path)
    match change:
        case "content":
            (tmp_path / "c/0/0").write_bytes(b"others")
        case "name":
            (tmp_path / "c/0/0").rename(tmp_path / "c/0/2")
        case "more":
            (tmp_path / "c/0/2").touch()
        case _:
            (tmp_path / "c/0/0").unlink()
    assert file_digest(tmp_path) != before
