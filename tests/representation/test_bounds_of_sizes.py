"""No size in a manifest makes a program allocate or loop without bound."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from products import make_spec
from saved import edit_manifest, refused
from test_refused_manifests import set_spec

from miner.models.activations import Activation
from miner.models.encodings import Encoding
from miner.pyramids.pyramid import Pyramid
from miner.representation.components import build
from miner.representation.spec import Spec

ENCODING, ACTIVATION = ("models", 0, "encoding"), ("models", 0, "activation")
OUT_OF_BOUNDS: list[tuple[tuple[str | int, ...], Any]] = [
    (("sides",), [13]),
    (("sides",), [13, 9, 2, 2]),
    (("sides",), [2**31 + 1, 1]),
    (("sides",), [2**21, 2**20]),
    (("sides",), [13, 9.0]),
    (("patch_size",), 513),
    (("patch_size",), 10**400),
    (("models", 0, "width"), 1025),
    (("models", 0, "depth"), 17),
    ((*ENCODING, "n_frequencies"), 65),
    ((*ENCODING, "n_frequencies"), 0),
    ((*ENCODING, "n_frequencies"), math.nan),
    ((*ACTIVATION, "a"), math.nan),
    ((*ACTIVATION, "a"), math.inf),
    ((*ACTIVATION, "a"), 0.0),
    ((*ACTIVATION, "a"), "\n" * 99),
    ((*ACTIVATION, "_target_"), "no\nclass" * 99),
    (("pyramid", "n_levels"), 33),
    (("pixel_format", "scale"), math.inf),
    (("pixel_format", "offset"), True),
    (("pixel_format", "dtype"), ["uint8"]),
    (("pixel_format", "more"), 1),
]


@pytest.mark.parametrize(("path", "value"), OUT_OF_BOUNDS)
def test_a_size_out_of_bounds_is_refused_in_a_line(
    folder: Path, path: tuple[str | int, ...], value: Any
) -> None:
    edit_manifest(folder, set_spec(*path, to=value))
    refused(folder, r"^[^\n]{1,1000}\Z")


def test_more_levels_than_any_image_has_are_refused(folder: Path) -> None:
    def repeated(content: dict[str, Any]) -> None:
        content["spec"]["models"] = 17 * content["spec"]["models"]

    edit_manifest(folder, repeated)
    refused(folder, "levels=34: must be a whole number from 1 to 32")


def test_patches_of_more_values_than_memory_holds_are_refused(folder: Path) -> None:
    def enlarged(content: dict[str, Any]) -> None:
        content["spec"].update(n_channels=4096, patch_size=512)
        content["spec"]["pixel_format"]["channels"] = 4096

    edit_manifest(folder, enlarged)
    refused(folder, "patch_size=512: patches of 1073741824 values")


@pytest.mark.parametrize("sides", [(2**20, 2**20), (1, 2**31), (4, 4, 2**31)])
def test_the_largest_images_are_within_bounds(sides: tuple[int, ...]) -> None:
    assert make_spec(sides).sides == sides


@pytest.mark.parametrize("changes", [{"patch_size": 0}, {"sides": (0, 3)}, {"models": ()}])
def test_a_spec_is_checked_wherever_it_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(make_spec((13, 9)), **changes)


@pytest.mark.parametrize(
    ("base", "name", "values"),
    [
        (Encoding, "encodings.CosineEncoding", {"n_frequencies": 65}),
        (Encoding, "encodings.CosineEncoding", {"n_frequencies": 2.0}),
        (Encoding, "encodings.PositionalEncoding", {"scale": -1.0}),
        (Activation, "activations.Siren", {"omega": math.nan}),
        (Activation, "activations.Finer", {"bias_bound": None}),
    ],
)
def test_numbers_have_the_ranges_of_settings(base: type, name: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        build(base, {"_target_": f"miner.models.{name}", **values})


@pytest.mark.parametrize("target", [["x"], {"x": 1}, None, 3, "", "x.y\n"])
def test_no_name_of_a_class_breaks_the_loader(target: Any) -> None:
    with pytest.raises(ValueError, match="no Pyramid of that name"):
        build(Pyramid, {"_target_": target})


@pytest.mark.parametrize("data", [None, 3, [], {}, "x", {"models": 3}])
def test_what_is_no_spec_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="malformed spec"):
        Spec.from_json(data)
