"""What a file says besides its values is in every format that can hold it, and nothing else is."""

import struct
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import OpenEXR
import pytest
import pyvips
import tifffile
from image_files import LIMIT, integers, noise, painted
from PIL import Image

from miner.images.arrays import open_values
from miner.images.encode import check_writable_format
from miner.images.metadata import GeoTags, Metadata, tiff_metadata
from miner.images.pixel_format import PixelFormat
from miner.images.source import SourceImage, open_image
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

WITH_EXIF = [".jpg", ".webp", ".avif"]
SCALE, TIE = (33550, "d", 3, (2.0, 3.0, 0.0), True), (33922, "d", 6, (0, 0, 0, 500, 900, 7), True)
KEYS = (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 1), True)
POINT_KEYS = (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 2), True)
MATRIX = (34264, "d", 16, (2, 0.5, 0, 500, 0.25, -3, 0, 900, 0, 0, 0, 0, 0, 0, 0, 1), True)
TEXTS = [(34736, "d", 2, (6378137.0, 0.5), True), (34737, "s", 0, "WGS 84|", True)]


def display_p3() -> bytes:
    """The profile that libvips has."""
    image = pyvips.Image.black(2, 2, bands=3).copy(interpretation="srgb")
    return image.icc_transform("p3", input_profile="srgb").get("icc-profile-data")


P3 = display_p3()
GREY = P3[:16] + b"GRAY" + P3[20:]


def opened(path: Path) -> SourceImage:
    return open_image(str(path), LIMIT)


def said(image: SourceImage) -> Metadata:
    return image.format.metadata


def rewritten(source: Path, out: Path) -> Path:
    """The image of a file in another, by its format, as a reconstruction is."""
    image = opened(source)
    check_writable_format(out, image.format, *image.sides)
    return painted(image.read(), image.format, Scratch(None)).save(out)


def dpi(path: Path) -> tuple[float, float] | None:
    """What Pillow finds; of EXIF both sides."""
    with Image.open(path) as image:
        if path.suffix in (".png", ".tif"):
            return image.info.get("dpi")
        exif = image.getexif()
        return (float(exif[282]), float(exif[283])) if 282 in exif else None


@pytest.mark.parametrize("source", [".png", ".tif", *WITH_EXIF])
@pytest.mark.parametrize("suffix", [".png", ".tif", *WITH_EXIF])
def test_resolution_is_that_of_the_source(tmp_path: Path, source: str, suffix: str) -> None:
    exif = Image.Exif()
    exif.update({282: 300.0, 283: 150.0, 296: 2})
    given: dict[str, Any] = {"exif": exif} if source in WITH_EXIF else {"dpi": (300, 150)}
    Image.fromarray(integers(20, 30, 3)).save(tmp_path / f"a{source}", **given)
    path = rewritten(tmp_path / f"a{source}", tmp_path / f"b{suffix}")
    assert dpi(path) == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("source", [".png", ".tif", *WITH_EXIF])
@pytest.mark.parametrize("suffix", [".png", ".tif", *WITH_EXIF])
def test_none_is_said_where_the_source_has_none(tmp_path: Path, source: str, suffix: str) -> None:
    Image.fromarray(integers(20, 30, 3)).save(tmp_path / f"a{source}")
    path = rewritten(tmp_path / f"a{source}", tmp_path / f"b{suffix}")
    assert dpi(path) is None
    assert said(opened(path)) == Metadata()
    if suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            assert {33550, 33922, 34675, 34735, 42113}.isdisjoint(tiff.pages[0].tags.keys())
            assert tiff.pages[0].resolutionunit == 1


def test_units_and_what_is_no_resolution(tmp_path: Path) -> None:
    pixels, path = integers(5, 7, 3), tmp_path / "a.jpg"
    Image.fromarray(pixels).save(path)
    jfif = path.read_bytes()
    start = jfif.index(b"JFIF\0") + 7
    for density, expected in [
        (
            struct.pack(">BHH", 2, 10, 10),
            (25.4, 25.4),
        ),  # a centimetre, and what libvips takes for none
        (struct.pack(">BHH", 1, 72, 72), (72, 72)),
        (struct.pack(">BHH", 0, 2, 1), None),  # the shape of pixels alone
        (struct.pack(">BHH", 1, 0, 0), None),
    ]:
        path.write_bytes(jfif[:start] + density + jfif[start + 5 :])
        assert said(opened(path)).resolution == (expected and pytest.approx(expected))
    Image.fromarray(pixels).save(path.with_suffix(".png"), dpi=(300, 300))
    png = path.with_suffix(".png").read_bytes()
    start = png.index(b"pHYs")
    chunk = b"pHYs" + struct.pack(">IIB", 2, 1, 0)
    chunk += struct.pack(">I", zlib.crc32(chunk))
    path.with_suffix(".png").write_bytes(png[:start] + chunk + png[start + len(chunk) :])
    assert said(opened(path.with_suffix(".png"))).resolution is None
    for unit, expected in [(3, (101.6, 203.2)), (2, (40, 80)), (1, None)]:
        tags = {"resolution": (40, 80), "resolutionunit": 1, "photometric": "rgb"}
        tifffile.imwrite(path.with_suffix(".tif"), pixels, **tags)
        with tifffile.TiffFile(path.with_suffix(".tif"), mode="r+") as tiff:
            tiff.pages[0].tags[296].overwrite(unit)
        found = said(opened(path.with_suffix(".tif"))).resolution
        assert found == (expected and pytest.approx(expected))


def test_turning_an_image_swaps_its_sides(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.update({274: 6, 282: 300.0, 283: 150.0, 296: 2})
    Image.fromarray(integers(20, 30, 3)).save(tmp_path / "a.jpg", exif=exif)
    path = rewritten(tmp_path / "a.jpg", tmp_path / "b.png")
    with Image.open(path) as image:
        assert image.size == (20, 30)
        assert image.info["dpi"] == pytest.approx((150, 300), abs=0.02)


@pytest.mark.parametrize("source", [".png", ".jpg", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".tif"])
def test_a_profile_is_kept(tmp_path: Path, source: str, suffix: str) -> None:
    Image.fromarray(integers(20, 30, 3)).save(tmp_path / f"a{source}", icc_profile=P3)
    with Image.open(rewritten(tmp_path / f"a{source}", tmp_path / f"b{suffix}")) as image:
        assert image.info["icc_profile"] == P3


@pytest.mark.parametrize(
    "damage",
    [
        lambda icc: icc[:100],
        lambda icc: struct.pack(">I", 285) + icc[4:285],  # which ends the writing of a PNG
        lambda icc: icc[:36] + b"xxxx" + icc[40:],
        lambda icc: icc[:16] + b"CMYK" + icc[20:],
        lambda icc: GREY,
        lambda icc: struct.pack(">I", 2**22 + 1) + icc[4:] + bytes(2**22),
    ],
)
def test_other_profiles_are_left_out_with_a_warning(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = integers(20, 30, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", iccprofile=damage(P3))
    for suffix in (".tif", ".png"):
        with Image.open(rewritten(tmp_path / "a.tif", tmp_path / f"b{suffix}")) as image:
            assert "icc_profile" not in image.info
    assert caplog.text.count("a.tif' has a colour profile that is left out: damaged, above") == 2
    caplog.clear()
    Image.fromarray(pixels).save(tmp_path / "c.jpg", icc_profile=damage(P3))
    open_image(str(tmp_path / "c.jpg"))
    assert "c.jpg' has a colour profile that is left out" in caplog.text


def test_a_profile_describes_the_values_that_are_kept(tmp_path: Path) -> None:
    cmyk = Image.fromarray(integers(20, 30, 3)).convert("CMYK")
    cmyk.save(tmp_path / "a.jpg", icc_profile=P3)  # wrongly
    cmyk.save(tmp_path / "a.tif", icc_profile=P3)
    grey = Image.fromarray(integers(20, 30))
    grey.save(tmp_path / "b.png", icc_profile=GREY)
    assert said(opened(tmp_path / "a.jpg")).icc == said(opened(tmp_path / "a.tif")).icc == ""
    assert said(opened(tmp_path / "b.png")).icc
    assert not said(opened(rewritten(tmp_path / "b.png", tmp_path / "c.webp"))).icc  # is RGB


@pytest.mark.parametrize(
    ("shape", "photometric", "extra", "expected"),
    [
        ((4,), "rgb", ["unspecified"], (0,)),
        ((4,), "rgb", ["unassalpha"], (2,)),
        ((5,), "rgb", ["unspecified", "unassalpha"], (0, 2)),
        ((4,), "minisblack", ["unspecified"] * 3, (0, 0, 0)),
        ((2,), "minisblack", ["unassalpha"], (2,)),
        ((2,), "minisblack", ["unspecified"], (0,)),
    ],
)
def test_channels_are_what_they_were(
    tmp_path: Path, shape: tuple[int, ...], photometric: str, extra: list[str], expected: Any
) -> None:
    values, path = integers(20, 30, *shape), tmp_path / "a.tif"
    tifffile.imwrite(
        path, values, photometric=photometric, extrasamples=extra, planarconfig="contig"
    )
    image = opened(path)
    with tifffile.TiffFile(rewritten(path, tmp_path / "b.tif")) as tiff:
        page = tiff.pages[0]
        assert page.extrasamples == expected
        assert page.photometric.name.lower() == photometric
        np.testing.assert_array_equal(page.asarray(), values)
    is_alpha = expected == (2,)
    assert image.format.suffix == (".png" if is_alpha else ".tif")
    if not is_alpha:
        with pytest.raises(ImageError, match=r"channels.*name a \.tif"):
            check_writable_format(tmp_path / "b.png", image.format, 20, 30)


def test_extra_samples_are_the_last_ones() -> None:
    for n_samples, said, expected in [(5, (2,), (0, 2)), (4, (), (0,)), (3, (2, 2), ())]:
        page = SimpleNamespace(samplesperpixel=n_samples, photometric=2, extrasamples=said, tags={})
        assert tiff_metadata(page).extra == expected


def test_only_images_of_pil_say_that_a_channel_is_alpha() -> None:
    values = integers(20, 30, 4)
    assert open_image(open_values(Image.fromarray(values))).format.alpha == 2
    assert open_image(open_values(values)).format.alpha == 0
    assert PixelFormat.of_values("uint8", 4).suffix == ".tif"


def test_an_image_of_pil_is_written_as_its_file_is(tmp_path: Path) -> None:
    Image.fromarray(integers(20, 30, 3)).save(tmp_path / "a.png", icc_profile=P3, dpi=(300, 300))
    with Image.open(tmp_path / "a.png") as image:
        from_memory = said(open_image(open_values(image)))
    assert from_memory.icc == said(opened(tmp_path / "a.png")).icc
    assert from_memory.resolution == pytest.approx((300, 300), rel=1e-5)


def geo(path: Path, *tags: Any, **more: Any) -> Path:
    tifffile.imwrite(path, noise(20, 31), extratags=tags, metadata=None, **more)
    return path


def test_geo_tags_are_kept(tmp_path: Path) -> None:
    nodata = (42113, "s", 0, "-9999", True)
    source = geo(tmp_path / "a.tif", SCALE, TIE, KEYS, *TEXTS, nodata)
    assert opened(source).format.suffix == ".tif"
    with (
        tifffile.TiffFile(source) as before,
        tifffile.TiffFile(rewritten(source, tmp_path / "b.tif")) as after,
    ):
        for code in (33550, 33922, 34735, 34736, 34737, 42113):
            old, new = before.pages[0].tags[code], after.pages[0].tags[code]
            assert (old.dtype, old.value) == (new.dtype, new.value)


def on_earth(tags: GeoTags, column: float, row: float) -> np.ndarray:
    """The place of a point that is counted from the first pixel's corner, by GeoTIFF's formulas."""
    shift = 0.5 if (1025, 0, 1, 2) in zip(*[iter(tags.keys)] * 4, strict=True) else 0
    column, row = column - shift, row - shift
    if tags.matrix:
        matrix = np.array(tags.matrix).reshape(4, 4)
        return (matrix @ [column, row, 0, 1])[:2]
    i, j, _, x, y, _ = tags.ties
    return np.array([x + (column - i) * tags.scale[0], y - (row - j) * tags.scale[1]])


@pytest.mark.parametrize(
    "tags",
    [(SCALE, TIE, KEYS), (SCALE, TIE, POINT_KEYS), (MATRIX, KEYS), (MATRIX, POINT_KEYS),
     (SCALE, (33922, "d", 6, (4, 9, 0, 500, 900, 7), True), KEYS)],
)  # fmt: skip
@pytest.mark.parametrize(
    ("box", "sides"),
    [
        (((0, 20), (0, 31)), (20, 31)),
        (((4, 12), (6, 31)), (8, 25)),
        (((0, 24), (0, 32)), (3, 4)),  # level 3, which ends beyond the image
        (((4, 12), (6, 16)), (20, 25)),  # enlarged
    ],
)
def test_places_on_earth_stay(tmp_path: Path, tags: Any, box: Any, sides: Any) -> None:
    whole = said(opened(geo(tmp_path / "a.tif", *tags))).geo
    part = Metadata(geo=whole).at(box, sides).geo
    steps = [(end - first) / side for (first, end), side in zip(box, sides, strict=True)]
    for column, row in [(0, 0), (0.5, 0.5), (2, 3)]:
        x, y = box[1][0] + steps[1] * column, box[0][0] + steps[0] * row
        np.testing.assert_allclose(on_earth(part, column, row), on_earth(whole, x, y))


def test_points_without_a_scale_move_with_their_pixels() -> None:
    points = GeoTags(ties=(4, 8, 0, 500, 900, 7, 30, 8, 0, 510, 900, 7))
    part = Metadata(geo=points).at(((4, 12), (6, 16)), (4, 5)).geo
    assert part == GeoTags(ties=(-1, 2, 0, 500, 900, 7, 12, 2, 0, 510, 900, 7))


def test_resolution_follows_levels_and_sizes() -> None:
    given = Metadata(resolution=(300.0, 200.0))
    assert given.at(((0, 24), (0, 32)), (3, 4)).resolution == (37.5, 25)
    assert given.at(((0, 3), (0, 4)), (3, 4), level=3).resolution == (37.5, 25)
    assert given.at(((4, 8), (4, 8)), (8, 16)).resolution == (1200, 400)
    assert given.at(((0, 1), (0, 1)), (10**6, 10**6)).resolution is None


@pytest.mark.parametrize(
    "tags",
    [
        [(33550, "d", 2, (2.0, 3.0), True)],
        [(33550, "d", 3, (np.nan, 3.0, 0.0), True)],
        [(33922, "d", 5, (0.0,) * 5, True)],
        [(34735, "d", 1, (1e9,), True)],
        [(33550, "s", 0, "text", True)],
        [(33922, "d", 6 * 2**14, (0.0,) * 6 * 2**14, True)],
    ],
)
def test_malformed_tags_are_left_out(tmp_path: Path, tags: Any) -> None:
    assert said(opened(geo(tmp_path / "a.tif", *tags))).geo is None


def test_what_a_format_cannot_hold_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = geo(tmp_path / "a.tif", SCALE, TIE, KEYS, resolution=(300, 300))
    rewritten(source, tmp_path / "b.exr")
    assert "b.exr cannot hold what the source says: its GeoTIFF tags" in caplog.text
    caplog.clear()
    rewritten(source, tmp_path / "b.tif")
    assert caplog.text == ""


def exr(path: Path, channels: dict[str, Any], **header: Any) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))
    return path


def windows(path: Path) -> list[list[int]]:
    with OpenEXR.File(str(path)) as file:
        header = file.header()
        return [np.ravel(header[name]).tolist() for name in ("displayWindow", "dataWindow")]


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    half, full = noise(8, 6).astype(np.float16), noise(8, 6)
    planes = {"R": half, "G": half, "B": half, "A": half, "Z": full, "uv.u": full, "uv.v": half}
    pairs = {"displayWindow": (0, 0, 19, 11), "dataWindow": (-3, 2, 2, 9)}
    given: Any = {
        name: (np.array(one[:2], np.int32), np.array(one[2:], np.int32))
        for name, one in pairs.items()
    }
    return exr(tmp_path / "a.exr", planes, xDensity=300.0, **given)


def test_openexr_keeps_names_types_and_windows(layers: Path, tmp_path: Path) -> None:
    path = rewritten(layers, tmp_path / "b.exr")
    assert windows(path) == [[0, 0, 19, 11], [-3, 2, 2, 9]]
    with (
        OpenEXR.File(str(layers), separate_channels=True) as before,
        OpenEXR.File(str(path), separate_channels=True) as after,
    ):
        old, new = before.channels(), after.channels()
        assert {n: c.pixels.dtype for n, c in old.items()} == {
            n: c.pixels.dtype for n, c in new.items()
        }
        for name in old:
            np.testing.assert_allclose(new[name].pixels, old[name].pixels, atol=1e-3)
        assert after.header()["xDensity"] == pytest.approx(300)


def test_windows_follow_regions_and_levels(layers: Path) -> None:
    whole = said(opened(layers))
    part = whole.at(((2, 6), (1, 4)), (4, 3)).exr
    assert part.display == (0, 0, 19, 11) and part.data == (-2, 4, 0, 7)
    coarse = whole.at(((0, 8), (0, 8)), (2, 2)).exr
    assert coarse.display == (0, 0, 4, 2) and coarse.data == (-1, 0, 0, 1)
    huge = whole.at(((0, 8), (0, 6)), (8 * 10**9, 6)).exr
    assert huge.data == huge.display == (0, 0, 5, 8 * 10**9 - 1)


def test_openexr_in_tiff_loses_names_and_says_so(
    layers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with tifffile.TiffFile(rewritten(layers, tmp_path / "b.tif")) as tiff:
        assert tiff.pages[0].extrasamples == (1, 0, 0, 0)  # the colours have the alpha in them
    assert caplog.text.count("channel names or windows") == 1
    caplog.clear()
    plane = noise(8, 6)
    rewritten(exr(tmp_path / "c.exr", dict.fromkeys("RGB", plane)), tmp_path / "c.tif")
    assert caplog.text == ""


def test_alpha_is_associated_in_openexr(tmp_path: Path) -> None:
    values = noise(8, 6, 4)
    options: Any = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(tmp_path / "a.tif", values, **options)
    path = rewritten(tmp_path / "a.tif", tmp_path / "a.exr")
    with OpenEXR.File(str(path), separate_channels=True) as file:
        red = file.channels()["R"].pixels
    np.testing.assert_allclose(red, values[..., 0] * values[..., 3], atol=1e-6)
    tifffile.imwrite(tmp_path / "b.tif", values, photometric="rgb", extrasamples=["unspecified"])
    path = rewritten(tmp_path / "b.tif", tmp_path / "b.exr")
    with OpenEXR.File(str(path), separate_channels=True) as file:
        assert set(file.channels()) == {"R", "G", "B", "C0003"}


def test_cropping_moves_places(tmp_path: Path) -> None:
    image = open_image(str(geo(tmp_path / "a.tif", SCALE, TIE, KEYS)), LIMIT, crop_px=10)
    found = said(image).geo
    assert found is not None and found.ties[3:5] == (500 + 10 * 2, 900 - 5 * 3)
