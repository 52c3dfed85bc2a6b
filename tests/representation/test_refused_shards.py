"""A shard that is damaged, foreign or impossible is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samples import (
    SHARD,
    SHOWN,
    SMALL,
    SPEC,
    edit_manifest,
    edit_shard,
    random_shards,
    refused,
    save_shards,
)
from torch import Tensor

from miner.models.network import Parameters
from miner.representation import Shard, load
from miner.representation.shard import write_shard


@pytest.mark.parametrize("name", ["../copy", "{parent}/copy", "below/copy", "..", "", ".", "a\0b"])
def test_a_sound_shard_of_another_name_is_refused(folder: Path, name: str) -> None:
    name = name.format(parent=folder.parent)

    def rename(content: dict[str, Any]) -> None:
        content["levels"]["0"][name] = content["levels"]["0"].pop(SHARD)

    (folder / "below").mkdir()
    for parent in (folder.parent, folder / "below"):
        (parent / "copy").write_bytes((folder / SHARD).read_bytes())
    edit_manifest(folder, rename)
    refused(folder, "the shard is missing" if "\0" in name else "is outside the folder")


def test_a_missing_shard_and_a_folder_in_its_place_are_refused(folder: Path) -> None:
    (folder / SHARD).unlink()
    refused(folder, f"{SHARD}: the shard is missing")
    (folder / SHARD).mkdir()
    refused(folder, f"{SHARD}: damaged shard .no plain file")


@pytest.mark.parametrize("level", [0, 1])
def test_exchanged_shards_are_refused(folder: Path, level: int) -> None:
    other = f"level{level:02d}-chunk00000.safetensors"
    first, second = ((folder / name).read_bytes() for name in (SHARD, other))
    (folder / SHARD).write_bytes(second)
    (folder / other).write_bytes(first)
    refused(folder)


def test_a_shard_of_another_run_is_refused(folder: Path) -> None:
    write_shard(folder, random_shards(SPEC, 0, seed=1)[1])
    refused(folder, "not the shard that the manifest names")


def test_a_shape_without_axes_is_refused(tmp_path: Path) -> None:
    path = SMALL.save(tmp_path) / SMALL.shards[0][0].file_name
    path.write_bytes(path.read_bytes().replace(b'"shape":[1]', b'"shape":[ ]', 1))
    refused(tmp_path, "damaged shard")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, blocks=s.blocks.flip(0)), "not ascending"),
        (lambda s: replace(s, blocks=s.blocks + 1000), "not ascending within 12"),
        (lambda s: replace(s, blocks=s.blocks - 1000), "not ascending"),
        (lambda s: replace(s, blocks=s.blocks[:1].expand(3)), "not ascending"),
        (lambda s: replace(s, blocks=s.blocks[:2]), None),
        *(
            (lambda s, row=row: replace(s, frames=torch.tensor([row] * 3)), "frames are impossible")
            for row in ([1, 2, 0], [1, -1, 0], [40, 1, 0], [1, 1])
        ),
        (lambda s: replace(s, level=7), "level 7 is not one of 2"),
        (lambda s: replace(s, level=-1), "level -1 is not one of 2"),
        (lambda s: replace(s, level=1), None),
    ],
)
def test_an_impossible_shard_is_refused(
    change: Callable[[Shard], Shard], message: str | None, tmp_path: Path
) -> None:
    refused(save_shards(tmp_path, change(SHOWN.shards[0][0])), message)


def test_a_block_in_two_shards_is_refused(tmp_path: Path) -> None:
    shard = SHOWN.shards[0][0]
    refused(save_shards(tmp_path, shard, replace(shard, chunk=9)), "same block twice")


IMPOSSIBLE_WIDTHS: dict[str, Callable[[Tensor], Tensor]] = {
    "a zero": lambda w: w * torch.tensor([1, 0, 1]),
    "negative": lambda w: w - 100,
    "above the most": lambda w: torch.where(w == w.max(), 1025, w),
    "too many": lambda w: torch.cat([w, w[:1]]),
    "too few": lambda w: w[:2],
    "a column": lambda w: w[:, None],
}
MISFITS: dict[str, Callable[[Parameters], object]] = {
    "one number more": lambda t: t.update(float32=torch.cat([t["float32"], t["float32"][:1]])),
    "one number less": lambda t: t.update(float32=t["float32"][:-1].clone()),
    "no numbers": lambda t: t.update(float32=t["float32"][:0].clone()),
    "numbers of another type": lambda t: t.update(float32=t["float32"].double()),
    **{
        f"{name} too": lambda t, name=name: t.update({name: torch.zeros(2)})
        for name in ("float64", "float16", "int32", "extra")
    },
    **{
        f"widths changed by {by}": lambda t, by=by: t.update(widths=t["widths"] + torch.tensor(by))
        for by in ([1, 1, 1], [0, 0, 1], [-1, 0, 0], [1, -1, 0], [900, 0, 0])
    },
}


@pytest.mark.parametrize("wrong", IMPOSSIBLE_WIDTHS)
def test_impossible_widths_are_refused(folder: Path, wrong: str) -> None:
    change = IMPOSSIBLE_WIDTHS[wrong]
    edit_shard(folder, lambda tensors: tensors.update(widths=change(tensors["widths"].clone())))
    refused(folder, "widths are not one number from 1 to 1024 per block")


@pytest.mark.parametrize("misfit", MISFITS)
def test_tensors_that_do_not_fit_the_widths_are_refused(folder: Path, misfit: str) -> None:
    edit_shard(folder, MISFITS[misfit])
    refused(folder, "its tensors do not fit the manifest")


@pytest.mark.parametrize("name", ["blocks", "widths", "float32"])
def test_a_shard_without_one_of_its_tensors_is_refused(folder: Path, name: str) -> None:
    edit_shard(folder, lambda tensors: tensors.pop(name))
    refused(folder, f"damaged shard .'{name}'")


def test_a_shard_written_by_hand_is_read_if_it_fits(folder: Path) -> None:
    edit_shard(folder, lambda tensors: None)
    assert np.array_equal(load(folder).render(), SHOWN.render())
