"""A manifest that is damaged, foreign, impossible or of boundless sizes is refused in one line."""

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from samples import MANIFEST, Edit, edit_manifest, refused

ONE_LINE = r"^[^\n]{1,1000}\Z"
ENCODINGS = "miner.models.encodings"
ABSTRACT = f"{ENCODINGS}.Encoding"
MODEL = ("models", 0, "model")
WRONG_FIELDS: dict[tuple[str | int, ...], list[Any]] = {
    ("sides",): [13, [13], [13, 0], [13, 9, 2], [13, 9, 2, 2], [2**31 + 1, 1], [2**21, 2**20]],
    ("sides", 1): [9.0, True],
    ("patch_size",): [-4, "4", 513, 10**400],
    ("n_channels",): [True, 3],
    ("models",): [[]],
    MODEL: [3, {"_target_": f"{ENCODINGS}.NoEncoding"}],
    (*MODEL, "width"): [1.5, 1025],
    (*MODEL, "depth"): [0, 17],
    (*MODEL, "encoding", "n_frequencies"): ["2", 3, 65, 0, 2.0, math.nan],
    (*MODEL, "encoding"): [{"_target_": f"{ENCODINGS}.PositionalEncoding", "scale": -1.0}],
    (*MODEL, "activation"): [3, {"_target_": f"{ENCODINGS}.NoEncoding"}],
    (*MODEL, "activation", "surprise"): [1],
    (*MODEL, "activation", "a"): [math.nan, math.inf, 0.0, "\n" * 99],
    (*MODEL, "activation", "_target_"): [["x"], {"x": 1}, None, "", "no\nclass" * 99],
    ("pyramid", "n_levels"): [33],
    ("pixel_format",): [{}],
    ("pixel_format", "channels"): [0],
    ("pixel_format", "scale"): [-1, 0.0, math.nan, math.inf],
    ("pixel_format", "offset"): [True, math.inf],
    ("pixel_format", "dtype"): [["uint8"], "int4"],
}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in WRONG_FIELDS.items() for value in values]
)
def test_a_wrong_field_is_refused(folder: Path, path: tuple[str | int, ...], value: Any) -> None:
    def edit(content: dict[str, Any]) -> None:
        parent = content["spec"]
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = value

    edit_manifest(folder, edit)
    refused(folder, ONE_LINE)


def larger_patches(content: dict[str, Any]) -> None:
    content["spec"].update(n_channels=4096, patch_size=512)
    content["spec"]["pixel_format"]["channels"] = 4096


IMPOSSIBLE: dict[str, tuple[Edit, str]] = {
    "no spec": (lambda content: content.pop("spec"), "spec={.*Field required"),
    **{
        f"spec {value}": (lambda content, v=value: content.update(spec=v), r"manifest.json: spec")
        for value in (None, 3, [], {}, "x", {"models": 3})
    },
    "no levels": (lambda content: content.pop("levels"), "levels={.*Field required"),
    "no sides": (lambda content: content["spec"].pop("sides"), "sides={.*Field required"),
    "a list of levels": (lambda content: content.update(levels=[]), r"levels=\[\]"),
    "level x": (lambda content: content["levels"].update(x={}), "levels.x"),
    "a number of shards": (lambda content: content["levels"].update({"0": 3}), "levels.0=3"),
    "level 9": (lambda content: content["levels"].update({"9": {}}), "level 9 is not one of 2"),
    "level -1": (lambda content: content["levels"].update({"-1": {}}), "level -1 is not one of 2"),
    "exchanged levels": (
        lambda content: content["levels"].update({"1": content["levels"]["0"]}),
        "not the shard that the manifest names",
    ),
    "many levels": (
        lambda content: content["spec"].update(models=17 * content["spec"]["models"]),
        "at most 32 items",
    ),
    "no component": (lambda content: content["spec"].update(pyramid=3), "3: a Pyramid is describ"),
    "an abstract class": (
        lambda c: c["spec"]["models"][0]["model"].update(encoding={"_target_": ABSTRACT}),
        "no Encoding of that name",
    ),
    "another field": (lambda content: content["spec"]["storage"].update(x=1), "has no field x"),
    "large patches": (larger_patches, "patch_size=512: patches of 1073741824 values"),
    "version 4": (lambda content: content.update(version=4), "4.*an earlier version.*fit again"),
    "version 6": (lambda content: content.update(version=6), "format version 6, .* reads 5$"),
    "no version": (lambda content: content.pop("version"), "format version None, .* reads 5$"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_manifest_is_refused(folder: Path, name: str) -> None:
    edit, message = IMPOSSIBLE[name]
    edit_manifest(folder, edit)
    refused(folder, message)
    refused(folder, ONE_LINE)


def test_a_folder_without_representation_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "no representation of blocks here; give the folder of a run of method=miner")


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"no json", b"[]", b"3", b'{"format": "other"}', b"\xff\xfe\xfa", b"[" * 100_000),
        *("\ud7ff".encode(), b'{"format": "miner-representation"}'),
    ],
)
def test_another_file_in_place_of_the_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    refused(folder, "unreadable manifest")


def test_a_changed_manifest_is_refused(folder: Path) -> None:
    path = folder / MANIFEST
    path.write_text(path.read_text().replace('"a": 0.2', '"a": 0.3'))
    refused(folder, "the manifest was changed")


@pytest.mark.parametrize("group", ["pyramid", "storage"])
@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "this.s", "builtins.eval"])
def test_a_class_that_the_manifest_names_is_not_imported(
    folder: Path, group: str, target: str
) -> None:
    edit_manifest(folder, lambda content: content["spec"][group].update(_target_=target))
    refused(folder, rf"_target_={target}: no \w+ of that name is loaded; import \w+ first if you")
    assert "this" not in sys.modules
