"""Saved and loaded again, in this process and another; and nothing damaged is taken for sound."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from products import FLOAT32, make_spec, random_representation, random_shards

from miner.models.parameters import select
from miner.representation import (
    MinerRepresentation,
    RepresentationError,
    Shard,
    load,
    write_manifest,
    write_shard,
)
from miner.representation.storage import Float16Storage, Int8Storage, Storage

SPEC = make_spec((13, 9), n_levels=2)
SHOWN = random_representation(SPEC)
MANIFEST, SHARD = "manifest.json", "level00-chunk00001.safetensors"
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return SHOWN.save(tmp_path / "representation")


def refused(folder: Path, message: str | None = None) -> None:
    with pytest.raises(RepresentationError, match=message):
        load(folder)


def edit_manifest(folder: Path, edit: Edit) -> None:
    """Change a manifest and make its checksum fit again."""
    content = json.loads((folder / MANIFEST).read_text())
    del content["sha256"]
    edit(content)
    content["sha256"] = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize("storage", [FLOAT32, Float16Storage(), Int8Storage()])
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


def test_everything_else_comes_back_too(folder: Path) -> None:
    loaded = load(folder)
    assert loaded.spec == SPEC
    for level, shards in SHOWN.shards.items():
        for shard, again in zip(shards, loaded.shards[level], strict=True):
            assert (again.level, again.chunk, again.stats) == (level, shard.chunk, shard.stats)
            assert torch.equal(again.blocks, shard.blocks)
            assert torch.equal(again.frames, shard.frames)


def test_saving_again_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    again = load(folder).save(tmp_path / "again")
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert (folder / MANIFEST).read_bytes() == (again / MANIFEST).read_bytes()


def test_saving_leaves_a_manifest_and_shards_alone(folder: Path) -> None:
    names = {shard.file_name for shards in SHOWN.shards.values() for shard in shards}
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *names}


def test_the_folder_of_the_run_will_do(folder: Path) -> None:
    assert np.array_equal(load(str(folder.parent)).render(), SHOWN.render())


def test_a_level_that_is_not_fitted_yet_is_predicted(folder: Path) -> None:
    edit_manifest(folder, lambda content: content["levels"].pop("0"))
    coarse = MinerRepresentation(SPEC, {1: SHOWN.shards[1]})
    assert np.array_equal(load(folder).render(), coarse.render())


def test_a_chunk_without_blocks_is_saved(tmp_path: Path) -> None:
    (first, *_) = SHOWN.shards[1]
    nothing = torch.empty(0, dtype=torch.long)
    empty = replace(
        first,
        blocks=nothing,
        frames=first.frames[:0],
        stored=select(first.stored, nothing),
    )
    assert load(MinerRepresentation(SPEC, {1: [empty]}).save(tmp_path)).n_parameters == 0


def test_a_folder_without_representation_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "no representation here; give its folder")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "3",
        '{"format": "other"}',
        "\ud7ff",
        '{"format": "miner-representation"}',
    ],
)
def test_another_file_in_place_of_the_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    refused(folder, "manifest")


def test_a_manifest_in_no_encoding_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe\xfa")
    refused(folder, "not a readable manifest")


def test_a_manifest_nested_without_end_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_text("[" * 100_000)
    refused(folder, "manifest")


def test_a_changed_manifest_is_refused(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"a": 0.2', '"a": 0.3'))
    refused(folder, "the manifest was changed")


def test_another_version_is_refused(folder: Path) -> None:
    edit_manifest(folder, lambda content: content.update(version=2))
    refused(folder, "format version 2, this program reads 1")


@pytest.mark.parametrize("group", ["pyramid", "storage"])
@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "this.s", "builtins.eval"])
def test_a_class_that_the_manifest_names_is_not_imported(
    folder: Path, group: str, target: str
) -> None:
    edit_manifest(folder, lambda content: content["spec"][group].update(_target_=target))
    refused(folder, rf"_target_={target}: no \w+ of that name is loaded")
    assert "this" not in sys.modules


def test_a_class_of_another_kind_is_refused(folder: Path) -> None:
    target = "miner.models.encodings.NoEncoding"
    edit_manifest(
        folder, lambda content: content["spec"]["models"][0]["activation"].update(_target_=target)
    )
    refused(folder, "no Activation of that name")


def set_spec(*path: Any, to: Any) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        place = content["spec"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return edit


IMPOSSIBLE: dict[str, Edit] = {
    "no_spec": lambda content: content.pop("spec"),
    "no_levels": lambda content: content.pop("levels"),
    "no_sides": lambda content: content["spec"].pop("sides"),
    "levels_list": lambda content: content.update(levels=[]),
    "levels_x": lambda content: content["levels"].update(x={}),
    "levels_number": lambda content: content["levels"].update({"0": 3}),
    "levels_unknown": lambda content: content["levels"].update({"9": {}}),
    "levels_negative": lambda content: content["levels"].update({"-1": {}}),
    "levels_exchanged": lambda content: content["levels"].update({"1": content["levels"]["0"]}),
    "one_side": set_spec("sides", to=[13]),
    "side_of_zero": set_spec("sides", to=[13, 0]),
    "third_side": set_spec("sides", to=[13, 9, 2]),
    "sides_number": set_spec("sides", to=13),
    "negative_patch": set_spec("patch_size", to=-4),
    "patch_text": set_spec("patch_size", to="4"),
    "true_channels": set_spec("n_channels", to=True),
    "more_channels": set_spec("n_channels", to=3),
    "no_models": set_spec("models", to=[]),
    "fractional_width": set_spec("models", 0, "width", to=1.5),
    "no_depth": set_spec("models", 0, "depth", to=0),
    "activation_number": set_spec("models", 0, "activation", to=3),
    "target_list": set_spec("models", 0, "activation", "_target_", to=["x"]),
    "unknown_field": set_spec("models", 0, "activation", "surprise", to=1),
    "frequencies_text": set_spec("models", 0, "encoding", "n_frequencies", to="2"),
    "more_frequencies": set_spec("models", 0, "encoding", "n_frequencies", to=3),
    "no_pixel_format": set_spec("pixel_format", to={}),
    "negative_scale": set_spec("pixel_format", "scale", to=-1),
}


@pytest.mark.parametrize("edit", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_manifest_is_refused(folder: Path, edit: Edit) -> None:
    edit_manifest(folder, edit)
    refused(folder)


def rename_shard(folder: Path, name: str) -> None:
    def rename(content: dict[str, Any]) -> None:
        content["levels"]["0"][name] = content["levels"]["0"].pop(SHARD)

    edit_manifest(folder, rename)


@pytest.mark.parametrize("outside", ["../copy", "{parent}/copy", "below/copy"])
def test_a_sound_shard_outside_the_folder_is_refused(folder: Path, outside: str) -> None:
    (folder / "below").mkdir()
    for place in (folder.parent, folder / "below"):
        (place / "copy").write_bytes((folder / SHARD).read_bytes())
    rename_shard(folder, outside.format(parent=folder.parent))
    refused(folder, "lies outside the folder")


@pytest.mark.parametrize("name", ["..", "", ".", "a\0b"])
def test_an_odd_name_of_a_shard_is_refused(folder: Path, name: str) -> None:
    rename_shard(folder, name)
    refused(folder, "shard")


def test_a_missing_shard_is_refused(folder: Path) -> None:
    (folder / SHARD).unlink()
    refused(folder, f"{SHARD}: the shard is missing")


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, -1])
def test_a_truncated_shard_is_refused(folder: Path, kept: int) -> None:
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:kept])
    refused(folder, f"{SHARD}: damaged shard")


def test_a_longer_shard_is_refused(folder: Path) -> None:
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes() + b"\0")
    refused(folder, f"{SHARD}: damaged shard")


def test_a_folder_in_place_of_a_shard_is_refused(folder: Path) -> None:
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    refused(folder, "shard")


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


FLIPS = {
    "last data byte": -1,
    "header length": 0,
    "first header byte": 8,
    "metadata": 40,
}


@pytest.mark.parametrize("position", FLIPS.values(), ids=FLIPS.keys())
def test_a_flipped_byte_of_a_shard_is_noticed(folder: Path, position: int) -> None:
    damaged = bytearray((folder / SHARD).read_bytes())
    damaged[position] ^= 1
    (folder / SHARD).write_bytes(damaged)
    refused(folder, f"{SHARD}: damaged shard")


SMALL = random_representation(make_spec((3, 2), n_levels=1))  # one block: most bytes matter


@pytest.mark.parametrize("name", [MANIFEST, SMALL.shards[0][0].file_name])
def test_any_flipped_byte_is_refused_or_harmless(name: str, tmp_path: Path) -> None:
    path = SMALL.save(tmp_path) / name
    sound, rendered = path.read_bytes(), SMALL.render()

    @settings(max_examples=150)
    @given(st.integers(0, len(sound) - 1), st.integers(1, 255))
    def check(position: int, change: int) -> None:
        damaged = bytearray(sound)
        damaged[position] ^= change
        path.write_bytes(damaged)
        try:
            loaded = load(tmp_path)
        except RepresentationError:
            return
        assert np.array_equal(loaded.render(), rendered)

    check()


def test_a_shape_without_axes_is_refused(tmp_path: Path) -> None:
    path = SMALL.save(tmp_path) / SMALL.shards[0][0].file_name
    path.write_bytes(path.read_bytes().replace(b'"shape":[1]', b'"shape":[ ]', 1))
    refused(tmp_path, "damaged shard")


def save_shards(folder: Path, *shards: Shard) -> Path:
    """Write level 0 with whatever shards, and a manifest that fits them."""
    write_manifest(folder, SPEC, {0: {s.file_name: write_shard(folder, s) for s in shards}})
    return folder


def with_stored(shard: Shard, **changes: torch.Tensor) -> Shard:
    return replace(shard, stored=shard.stored | changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, blocks=s.blocks.flip(0)), "not ascending"),
        (lambda s: replace(s, blocks=s.blocks + 1000), "not ascending within 12"),
        (lambda s: replace(s, blocks=s.blocks - 1000), "not ascending"),
        (lambda s: replace(s, blocks=s.blocks[:1].expand(3)), "not ascending"),
        (lambda s: replace(s, blocks=s.blocks[:2]), None),
        (lambda s: replace(s, frames=torch.tensor([[1, 2, 0]] * 3)), "frames are impossible"),
        (lambda s: replace(s, frames=torch.tensor([[1, -1, 0]] * 3)), "frames are impossible"),
        (lambda s: replace(s, frames=torch.tensor([[40, 1, 0]] * 3)), "frames are impossible"),
        (lambda s: replace(s, frames=torch.tensor([[1, 1]] * 3)), "frames are impossible"),
        (lambda s: replace(s, level=7), "level 7 is not one of 2"),
        (lambda s: replace(s, level=1), None),
        (lambda s: with_stored(s, extra=torch.zeros(3)), "do not fit"),
        (lambda s: replace(s, stored={}), "do not fit"),
        (lambda s: with_stored(s, **{"hidden.0.a": torch.zeros(3).double()}), "do not fit"),
        (lambda s: with_stored(s, **{"hidden.0.a": torch.zeros(3, 1)}), "do not fit"),
    ],
)
def test_an_impossible_shard_is_refused(
    change: Callable[[Shard], Shard], message: str | None, tmp_path: Path
) -> None:
    refused(save_shards(tmp_path, change(SHOWN.shards[0][0])), message)


def test_a_block_in_two_shards_is_refused(tmp_path: Path) -> None:
    shard = SHOWN.shards[0][0]
    refused(save_shards(tmp_path, shard, replace(shard, chunk=9)), "hold the same block")


def test_a_shard_is_not_half_written(tmp_path: Path) -> None:
    shard = SHOWN.shards[0][0]
    write_shard(tmp_path, shard)
    before = (tmp_path / shard.file_name).read_bytes()
    with pytest.raises(AttributeError):
        write_shard(tmp_path, with_stored(shard, extra=None))  # type: ignore[arg-type]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
