"""What a file said of its pixels is in a representation, and in what is rendered of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
import tifffile
from PIL import Image
from samples import make_spec, random_representation

import miner
from miner.images.metadata import ExrHeader, GeoTags, Metadata
from miner.images.pixel_format import PixelFormat
from miner.representation import Representation
from miner.support.errors import ImageError, RepresentationError
from miner.support.files import json_sha256

GEO = GeoTags((2.0, 3.0, 0.0), (0, 0, 0, 500, 900, 7), (), (1, 1, 0, 0), (0.5,), "WGS 84|")
EXR = ExrHeader(("Y", "A"), (True, False), (0, 0, 29, 22), (-3, 2, 26, 24))
SAID = Metadata((300.0, 200.0), "", "-9999", (2,), GEO, EXR)


def shown(metadata: Metadata, dtype: Any = "float32") -> Representation:
    spec = make_spec((23, 30))
    pixel_format = replace(PixelFormat.of_values(dtype, 2), metadata=metadata)
    return random_representation(replace(spec, pixel_format=pixel_format))


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    first = shown(SAID).save(tmp_path / "a")
    assert miner.load(first).spec.pixel_format.metadata == SAID
    again = miner.load(first).save(tmp_path / "b")
    assert (again / "manifest.json").read_bytes() == (first / "manifest.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resolution", [0, 1]),
        ("resolution", [1]),
        ("extra", [3]),
        ("icc", 5),
        ("geo", {"scale": ["1"]}),
        ("geo", {"keys": [70000]}),
        ("exr", {"names": [""], "halves": [], "display": [0, 0, 1, 1], "data": [0, 0, 1, 1]}),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    path = shown(SAID).save(tmp_path) / "manifest.json"
    content = json.loads(path.read_text())
    content["spec"]["pixel_format"]["metadata"][name] = value
    del content["sha256"]
    path.write_text(json.dumps(content | {"sha256": json_sha256(content)}))
    with pytest.raises(RepresentationError, match="unreadable manifest"):
        miner.load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "scale", "tie", "dpi"),
    [
        ({}, (2, 3), (500, 900), (300, 200)),
        ({"region": ((3, 20), (11, 12))}, (2, 3), (522, 891), (300, 200)),
        ({"level": 1}, (4, 6), (500, 900), (150, 100)),
        ({"level": 1, "region": ((2, 5), (3, 4))}, (4, 6), (512, 888), (150, 100)),
        ({"scale": 4}, (0.5, 0.75), (500, 900), (1200, 800)),
        ({"level": 1, "region": ((2, 5), (3, 4)), "size": (6, 4)},
         (1, 3), (512, 888), (600, 200)),
    ],
)  # fmt: skip
def test_a_file_lies_where_its_pixels_do(
    tmp_path: Path, arguments: Any, scale: Any, tie: Any, dpi: Any
) -> None:
    path = shown(replace(SAID, exr=None)).render(**arguments, out=tmp_path / "a.tif")
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages[0].tags
        assert tags[33550].value == (*scale, 0)
        assert tags[33922].value == (0, 0, 0, *tie, 7)
        assert [tags[code].value for code in (34735, 34737, 42113)] == [
            (1, 1, 0, 0), "WGS 84|", "-9999",
        ]  # fmt: skip
        assert tiff.pages[0].resolution == pytest.approx(dpi)
        assert tiff.pages[0].extrasamples == (2,)


def test_windows_of_a_region(tmp_path: Path) -> None:
    path = shown(SAID).render(region=((3, 20), (11, 12)), out=tmp_path / "a.exr")
    with OpenEXR.File(str(path), separate_channels=True) as file:
        windows = [np.ravel(file.header()[f"{n}Window"]).tolist() for n in ("display", "data")]
        types = [file.channels()[name].pixels.dtype for name in "YA"]
    assert windows == [[0, 0, 29, 22], [8, 5, 8, 21]]
    assert types == [np.float16, np.float32]


def test_a_picture_shows_alpha_only_where_it_is_said() -> None:
    pictures = [shown(replace(SAID, extra=(kind,)), "uint8")._repr_png_() for kind in (0, 2)]
    assert pictures[0] != pictures[1]


def test_pictures_of_pil_are_rendered_with_their_alpha(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (9, 11, 4), np.uint8)
    settings: Any = {"patch_size": 8, "fitting": {"max_steps": 1}, "progress": False}
    fitted = miner.fit(Image.fromarray(values), **settings)
    with Image.open(fitted.render(out=tmp_path / "a.png")) as image:
        assert image.mode == "RGBA"
    with pytest.raises(ImageError, match=r"calls the last of 4 channels alpha.*name a \.tif"):
        miner.fit(values, **settings).render(out=tmp_path / "a.png")
