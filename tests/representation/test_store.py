"""Shards are found by their blocks, read when they are needed, and written by several processes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from samples import make_spec, random_representation, random_shard, random_shards
from thread_ranks import ThreadRank, in_threads

from miner.representation import load
from miner.representation.rendering import ShardIndex
from miner.representation.spec import MANIFEST
from miner.representation.store import FolderStore, ShardFolder
from miner.support.communication import SINGLE_PROCESS, Communicator, items_of_rank
from miner.support.errors import ConfigError, RepresentationError

SPEC = make_spec((40, 36), n_levels=2)
SHARDS, COARSE = random_shards(SPEC, 0), random_shards(SPEC, 1)
CHUNKS = [shard.blocks for shard in SHARDS]
COARSE_CHUNKS = [shard.blocks for shard in COARSE]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.support.files.TIMEOUT_S", 0)


def make(folder: Path, ranks: Communicator = SINGLE_PROCESS) -> FolderStore:
    return FolderStore(folder, SPEC, {"backend": "any"}, "digest", ranks)


def begun(folder: Path) -> FolderStore:
    """A store that has started level 0."""
    store = make(folder)
    store.begin()
    store.start_level(0, CHUNKS)
    return store


def test_shards_in_a_box_are_found_and_far_ones_left_out() -> None:
    grid, index = SPEC.grid(0), ShardIndex(SPEC.grid(0), SHARDS)
    for number, (row, column) in enumerate(grid.positions(torch.arange(grid.n_blocks)).tolist()):
        found = index.near([row, column], [row + 1, column + 1])
        holding = [shard for shard in SHARDS if number in shard.blocks]
        assert all(any(one is shard for one in found) for shard in holding)
    assert len(index.near([0, 0], [1, 1])) < len(SHARDS)
    assert index.near([90, 90], [91, 91]) == []
    assert ShardIndex(SPEC.grid(0), []).near([0, 0], [9, 9]) == []


def test_parameters_stay_in_their_files(tmp_path: Path) -> None:
    folder = random_representation(SPEC).save(tmp_path)
    loaded = load(folder)
    for file in folder.glob("level00-*"):
        file.unlink()
    loaded.render(1)
    with pytest.raises(RepresentationError, match="missing"):
        loaded.render(0)


def test_a_file_that_changes_while_it_is_in_use_is_noticed(tmp_path: Path) -> None:
    store = begun(tmp_path)
    store.add(SHARDS[0])
    (stored,) = store.shards
    FolderStore(tmp_path, SPEC, {}, "other").add(SHARDS[0])
    with pytest.raises(RepresentationError, match="changed while it was in use"):
        list(stored.stored)


def test_two_processes_make_what_one_would(tmp_path: Path) -> None:
    def work(ranks: ThreadRank) -> None:
        store = make(tmp_path, ranks)
        store.begin()
        assert store.start_level(0, CHUNKS) == list(range(len(CHUNKS)))
        for shard in items_of_rank(ranks, SHARDS):
            store.add(shard)
        store.finish_level()
        assert [shard.chunk for shard in store.shards] == list(range(len(CHUNKS)))

    in_threads(2, work)
    for found, shard in zip(load(tmp_path).shards[0], SHARDS, strict=True):
        torch.testing.assert_close(found.stored, shard.stored, rtol=0, atol=0)


def test_files_that_never_show_are_named(tmp_path: Path) -> None:
    """Two machines, each with a folder of its own."""

    def work(ranks: ThreadRank) -> None:
        store = make(tmp_path / str(ranks.rank), ranks)
        if ranks.rank == 0:
            store.begin()
        else:
            with pytest.raises(FileNotFoundError, match=f"hydra.run.dir .*{MANIFEST}"):
                store.begin()
            make(store.folder).begin()
        store.start_level(0, CHUNKS)
        store.add(SHARDS[ranks.rank])
        with pytest.raises(FileNotFoundError, match=f"chunk0000{1 - ranks.rank}"):
            store.finish_level()

    in_threads(2, work)


def fit_coarse(store: FolderStore, seed: int = 0) -> FolderStore:
    """Begin a fit, finish level 1 and start level 0."""
    store.begin()
    for chunk in store.start_level(1, COARSE_CHUNKS):
        store.add(random_shard(SPEC, 1, chunk, COARSE_CHUNKS[chunk], seed))
    store.finish_level()
    store.start_level(0, CHUNKS)
    return store


@pytest.mark.parametrize("drops_manifest", [False, True])
def test_a_level_is_resumed_where_the_coarser_ones_are_the_same(
    tmp_path: Path, drops_manifest: bool
) -> None:
    store = fit_coarse(make(tmp_path))
    store.add(SHARDS[1])
    if drops_manifest:
        (tmp_path / MANIFEST).write_text("damaged")
    assert [shard.chunk for shard in fit_coarse(make(tmp_path)).shards] == [1]
    for path in tmp_path.glob("level01*"):
        path.unlink()
    assert fit_coarse(make(tmp_path), seed=1).shards == []


def finish(store: FolderStore) -> FolderStore:
    """Add all shards of level 0, which has started."""
    for shard in SHARDS:
        store.add(shard)
    store.finish_level()
    return store


def test_a_shard_is_fitted_again_unless_it_is_the_listed_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finish(begun(tmp_path))
    other = random_shard(SPEC, 0, 1, CHUNKS[1], seed=1)
    make(tmp_path).add(other)
    store = make(tmp_path)
    store.begin()
    assert store.start_level(0, CHUNKS) == [1]
    assert f"{other.file_name}: is of another fit, and fitted again" in caplog.text


def test_bytes_are_those_of_levels_that_this_start_has_finished(tmp_path: Path) -> None:
    finish(fit_coarse(make(tmp_path)))
    store = fit_coarse(make(tmp_path))
    names = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    finer = sum(size for name, size in names.items() if name.startswith("level00"))
    assert store.n_bytes == sum(names.values()) - finer > 0
    store.finish_level()
    assert store.n_bytes == sum(names.values())


@pytest.mark.parametrize("other", [("EagerBackend", "digest"), ("CompiledBackend", "x")])
def test_ranks_that_would_make_other_bits_are_refused(
    tmp_path: Path, other: tuple[str, str]
) -> None:
    def work(ranks: ThreadRank) -> None:
        backend, digest = (("CompiledBackend", "digest"), other)[ranks.rank]
        FolderStore(tmp_path / "new", SPEC, {"backend": backend}, digest, ranks).begin()

    with pytest.raises(ConfigError, match=rf"rank 1 has other settings.*\({other[0]}; Compiled"):
        in_threads(2, work)
    assert list(tmp_path.iterdir()) == []


def test_frames_that_are_all_zero_take_no_memory_for_each_block(tmp_path: Path) -> None:
    (shard, *_) = random_representation(SPEC).shards[0]
    given = replace(shard, frames=torch.zeros_like(shard.frames))
    frames = ShardFolder(tmp_path, SPEC).refer(given).frames
    assert torch.equal(frames, given.frames)
    assert frames.untyped_storage().nbytes() == frames[0].numel() * frames.element_size()
