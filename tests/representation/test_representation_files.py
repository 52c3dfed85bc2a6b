"""Saved and loaded again, in this process and another."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors import safe_open
from samples import (
    MANIFEST,
    SHARD,
    SHOWN,
    SPEC,
    STORAGES,
    edit_manifest,
    make_spec,
    random_parameters,
    random_representation,
)

import miner
from miner.images.nodata import mask_of_array
from miner.representation import Representation, load
from miner.representation.shard import write_shard
from miner.representation.storage import Storage
from miner.support.errors import RepresentationError
from miner.support.run_files import claim

SMALL_SPEC = make_spec((3, 2), n_levels=1)
TWO_KINDS = {"hidden.0.weight": torch.ones(1, 2, 3), "hidden.0.a": torch.ones(1)}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("sides", [(13, 9), (5, 9, 6), (1, 1)], ids=str)
def test_what_is_loaded_renders_the_same_bits(
    sides: tuple[int, ...], storage: Storage, tmp_path: Path
) -> None:
    shown = random_representation(make_spec(sides, storage=storage))
    loaded = load(shown.save(tmp_path))
    for level in range(3):
        assert np.array_equal(loaded.render(level), shown.render(level))


def test_another_process_renders_the_same_bits(folder: Path) -> None:
    program = (
        "import sys, numpy, torch, miner; torch.set_num_threads(1);"
        "numpy.save(sys.argv[2], miner.load(sys.argv[1]).render())"
    )
    there = folder / "there.npy"
    subprocess.run([sys.executable, "-W", "error", "-c", program, folder, there], check=True)
    assert np.array_equal(np.load(there), SHOWN.render())


def test_all_fields_are_loaded_from_the_folder_of_the_run(folder: Path) -> None:
    loaded = load(str(folder.parent))  # the folder of the run
    assert loaded.spec == SPEC
    assert [len(shard.stored) for shard in loaded.shards[0]] == [2, 3, 1]  # widths
    for level, shards in SHOWN.shards.items():
        for shard, again in zip(shards, loaded.shards[level], strict=True):
            assert (again.level, again.chunk, again.stats) == (level, shard.chunk, shard.stats)
            assert torch.equal(again.blocks, shard.blocks)
            assert torch.equal(again.frames, shard.frames)
            assert torch.equal(again.widths, shard.widths)
            torch.testing.assert_close(again.stored, shard.stored, rtol=0, atol=0)


@pytest.mark.parametrize("width", [1, 1024])
def test_the_smallest_and_the_largest_width_are_saved(width: int, tmp_path: Path) -> None:
    (level,) = SMALL_SPEC.models
    spec = replace(SMALL_SPEC, models=(replace(level, model=replace(level.model, depth=1)),))
    parameters = random_parameters(spec.model(0, width), 1, torch.Generator())
    (shard,) = random_representation(spec).shards[0]
    wide = replace(shard, widths=torch.tensor([width]), stored={width: parameters})
    shown = Representation(spec, {0: [wide]})
    assert np.array_equal(load(shown.save(tmp_path)).render(), shown.render())


@pytest.mark.parametrize("storage", STORAGES)
def test_a_file_holds_a_tensor_for_each_type_of_number(storage: Storage, tmp_path: Path) -> None:
    folder = random_representation(make_spec((13, 9), storage=storage)).save(tmp_path)
    with safe_open(folder / SHARD, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    types = {str(t.dtype).removeprefix("torch.") for t in storage.encode(TWO_KINDS).values()}
    assert found.keys() == {"blocks", "widths", "frames", *types}
    assert {found[name].ndim for name in types} == {1}


def test_saving_writes_the_same_files_again_and_no_others(folder: Path, tmp_path: Path) -> None:
    again = load(folder).save(tmp_path / "again")
    names = {MANIFEST, *(shard.file_name for found in SHOWN.shards.values() for shard in found)}
    assert names == {path.name for path in folder.iterdir()}
    assert names == {path.name for path in again.iterdir()}
    assert (folder / MANIFEST).read_bytes() == (again / MANIFEST).read_bytes()


def test_a_level_that_is_not_fitted_yet_is_predicted(folder: Path) -> None:
    edit_manifest(folder, lambda content: content["levels"].pop("0"))
    coarse = Representation(SPEC, {1: SHOWN.shards[1]})
    assert np.array_equal(load(folder).render(), coarse.render())


def test_a_chunk_without_blocks_is_saved(tmp_path: Path) -> None:
    (first, *_) = SHOWN.shards[1]
    nothing = torch.empty(0, dtype=torch.long)
    empty = replace(first, blocks=nothing, frames=first.frames[:0], widths=nothing, stored={})
    assert load(Representation(SPEC, {1: [empty]}).save(tmp_path)).n_parameters == 0


def test_a_shard_is_not_half_written(tmp_path: Path) -> None:
    shard = SHOWN.shards[0][0]
    write_shard(tmp_path, shard)
    before = (tmp_path / shard.file_name).read_bytes()
    broken = {width: stored | {"extra": None} for width, stored in shard.stored.items()}
    with pytest.raises(AttributeError):
        write_shard(tmp_path, replace(shard, stored=broken))  # type: ignore[arg-type]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("place", [Path.write_text, Path.symlink_to])
def test_saving_overwrites_no_file_that_is_not_a_representations(
    tmp_path: Path, place: Callable[[Path, str], object]
) -> None:
    shown = random_representation(SPEC)
    folder = shown.save(tmp_path / "first")
    name = max(path.name for path in folder.glob("level*"))
    (tmp_path / "other").mkdir()
    place(tmp_path / "other" / name, "mine")
    with pytest.raises(RepresentationError, match="is of no representation here; name another"):
        shown.save(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == [name]
    assert shown.save(folder) == folder  # its own


def test_a_run_is_not_replaced_by_what_is_saved(tmp_path: Path) -> None:
    claim(tmp_path / "run", "representation")
    for folder in (tmp_path / "run", tmp_path / "run" / "representation"):
        with pytest.raises(RepresentationError, match=r"run.*: is a run's; name another folder"):
            SHOWN.save(folder)
    (tmp_path / "file").touch()
    with pytest.raises(RepresentationError, match=r"file: is a file; name a folder"):
        SHOWN.save(tmp_path / "file")


def test_a_foreign_mask_is_not_replaced(tmp_path: Path) -> None:
    SHOWN.save(tmp_path)
    (tmp_path / "mask.npz").write_text("mine")
    mask = mask_of_array(np.eye(13, 9), (13, 9))
    masked = Representation(replace(SHOWN.spec, mask=mask), SHOWN.shards)
    with pytest.raises(RepresentationError, match=r"mask.npz: is of no representation"):
        masked.save(tmp_path)
    assert (tmp_path / "mask.npz").read_text() == "mine"


def test_a_listed_file_that_ends_like_an_overview_is_kept(folder: Path) -> None:
    (folder / "my-overview.tif").write_text("mine")
    edit_manifest(folder, lambda content: content["levels"]["0"].update({"my-overview.tif": ""}))
    SHOWN.save(folder)
    assert (folder / "my-overview.tif").read_text() == "mine"


def test_a_file_is_scored_as_it_was_read(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, (20, 24)).astype(np.uint16)
    values[:3] = 65535
    tags = [(42113, "s", 0, "65535", True)]
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=tags)
    given = {"image.nodata": "none", "image.crop_px": 16, "patch_size": 8}
    shown = miner.fit(tmp_path / "a.tif", fitting={"max_steps": 1}, progress=False, **given)
    for one in (shown, miner.load(shown.save(tmp_path / "saved"))):
        assert one.score(tmp_path / "a.tif")["psnr_db"] == pytest.approx(shown.psnr_db)
