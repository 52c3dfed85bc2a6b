"""A kind of file that cannot hold an image is refused before anything is rendered."""

from pathlib import Path

import pytest

from miner.images import PixelFormat, check_writable_format, preview_factor
from miner.support.errors import ImageError

BYTES = PixelFormat.of_values("uint8", 3)


@pytest.mark.parametrize(
    ("name", "dtype", "channels", "side", "reason"),
    [
        ("a", "uint8", 3, 9, "end the name with one of .png, .jpg"),
        ("a.bmp", "uint8", 3, 9, "end the name with one of .png, .jpg"),
        ("a.png", "uint8", 5, 9, "png holds 1, 2, 3, 4 channels, the image has 5; name a .tif"),
        ("a.png", "float32", 3, 9, "png holds uint8 or uint16 values, the image has float32"),
        ("a.jpg", "uint16", 3, 9, "jpg holds uint8 values, the image has uint16; name a .png"),
        ("a.jpg", "uint8", 4, 9, "jpg holds 1, 3 channels, the image has 4; name a .png or .tif"),
        ("a.jpeg", "float32", 3, 9, "holds uint8 values, the image has float32; name a .tif"),
        ("a.webp", "uint16", 3, 9, "webp holds uint8 values"),
        ("a.exr", "uint8", 3, 9, "exr holds float32 values, the image has uint8"),
        ("a.jpg", "uint8", 3, 65501, "at most 65500 pixels a side, the image has 65501 x 2"),
        ("a.WEBP", "uint8", 3, 16384, "webp holds at most 16383 pixels a side"),
        ("a.avif", "uint8", 3, 16385, "avif holds at most 16384 pixels a side"),
        ("a.npy", "uint8", 7, 9, "array of 2 rows and 7 channels is read as one of 2 channels"),
    ],
)
def test_what_cannot_be_held_is_refused(
    name: str, dtype: str, channels: int, side: int, reason: str
) -> None:
    with pytest.raises(ImageError) as caught:
        check_writable_format(Path(name), PixelFormat.of_values(dtype, channels), 2, side)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(repr(name))


@pytest.mark.parametrize(
    ("name", "side"), [("a.png", 10**6), ("a.jpg", 65500), ("a.webp", 16383), ("a.avif", 16384)]
)
def test_what_can_be_held_passes(name: str, side: int) -> None:
    check_writable_format(Path(name), BYTES, 2, side)


@pytest.mark.parametrize(
    ("sides", "max_pixels", "factor"),
    [
        ((10, 10), 100, 1),
        ((10, 10), 99, 2),
        ((11, 13), 6, 4),
        ((1, 100), 1, 64),
        ((32768, 32768), 2**24, 8),
    ],
)
def test_preview_factor_is_the_least_power_of_two(
    sides: tuple[int, int], max_pixels: int, factor: int
) -> None:
    assert preview_factor(*sides, max_pixels) == factor


def test_a_preview_needs_a_pixel() -> None:
    with pytest.raises(ImageError, match="max_pixels=0: a preview needs 1 pixel or more"):
        preview_factor(9, 9, 0)
