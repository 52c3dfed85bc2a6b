"""A manifest that is damaged, foreign or impossible is not taken for sound."""

import sys
from pathlib import Path
from typing import Any

import pytest
from saved import MANIFEST, Edit, edit_manifest, refused


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


@pytest.mark.parametrize("version", [3, 5, None])
def test_another_version_is_refused(folder: Path, version: int | None) -> None:
    edit_manifest(folder, lambda content: content.update(version=version))
    refused(folder, f"format version {version}, this program reads 4")


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
