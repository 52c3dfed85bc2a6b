"""Shards are found by where their blocks lie, and read only when they are needed."""

from pathlib import Path

import pytest
from products import make_spec, random_representation, random_shards

from miner.representation import ShardFolder, load
from miner.representation.render import ShardIndex
from miner.support.errors import RepresentationError

SPEC = make_spec((40, 36), n_levels=2)


def test_no_shard_in_a_box_is_missed() -> None:
    grid, shards = SPEC.grid(0), random_shards(SPEC, 0, seed=0)
    index = ShardIndex(grid, shards)
    for row in range(grid.counts[0]):
        for column in range(grid.counts[1]):
            found = index.near([row, column], [row + 1, column + 1])
            number = row * grid.counts[1] + column
            holding = [shard for shard in shards if number in shard.blocks]
            assert all(any(one is shard for one in found) for shard in holding)


def test_far_shards_are_left_out() -> None:
    shards = random_shards(SPEC, 0, seed=0)
    index = ShardIndex(SPEC.grid(0), shards)
    assert len(index.near([0, 0], [1, 1])) < len(shards)
    assert index.near([90, 90], [91, 91]) == []


def test_empty_level_has_nothing_near() -> None:
    assert ShardIndex(SPEC.grid(0), []).near([0, 0], [9, 9]) == []


def test_numbers_stay_in_their_files(tmp_path: Path) -> None:
    folder = random_representation(SPEC).save(tmp_path)
    loaded = load(folder)
    for file in folder.glob("level00-*"):
        file.unlink()
    loaded.render(1)
    with pytest.raises(RepresentationError, match="missing"):
        loaded.render(0)


def test_file_that_changes_while_it_is_in_use_is_noticed(tmp_path: Path) -> None:
    shards = random_shards(SPEC, 0, seed=0)
    files = ShardFolder(tmp_path, SPEC)
    kept = files.write(shards[0], "one").shard
    files.write(shards[0], "other")
    with pytest.raises(RepresentationError, match="changed while it was in use"):
        list(kept.groups())


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "", "..", "a/b"])
def test_shard_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RepresentationError, match="outside the folder"):
        ShardFolder(tmp_path, SPEC).open(name)
