"""Large images made of small ones."""

from pathlib import Path

import compose_image
import numpy as np
import pytest
import pyvips
import tifffile

COLOURS = {"a": (200, 10, 10), "b": (10, 200, 10), "c": (10, 10, 200)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two low pictures, a high one with alpha, a grey one of 16 bits, and a text."""
    sizes = {"a": (30, 20), "b": (25, 24), "c": (40, 50)}
    for name, (width, height) in sizes.items():
        bands = (*COLOURS[name], 7) if name == "c" else COLOURS[name]
        image = (pyvips.Image.black(width, height, bands=len(bands)) + bands).cast("uchar")
        image.copy(interpretation="srgb").write_to_file(str(tmp_path / f"{name}.png"))
    grey = (pyvips.Image.black(9, 51) + 100 * 257).cast("ushort").copy(interpretation="grey16")
    grey.write_to_file(str(tmp_path / "d.png"))
    (tmp_path / "notes.md").write_text("no picture")
    return tmp_path


def written(folder: Path, width: int, height: int) -> tifffile.TiffFile:
    pictures = compose_image.decoded(folder, folder)
    image = compose_image.composed(pictures, width, height)
    compose_image.write(image, folder / "out.tif", "deflate")
    return tifffile.TiffFile(folder / "out.tif")


def test_shelves_hold_pictures_side_by_side(folder: Path) -> None:
    with written(folder, 100, 90) as file:
        image = file.asarray()
        assert file.is_bigtiff
        assert file.pages[0].tile == (512, 512)
    assert image.shape == (90, 100, 3)
    assert image[0, [0, 29, 30, 54, 55, 99]].tolist() == [
        list(COLOURS[name]) for name in ("a", "a", "b", "b", "a", "b")
    ]
    assert (image[20:70, :40] == COLOURS["c"]).all()
    assert (image[20:70, 40:49] == 100).all()
    assert (image[70:, :30] == COLOURS["a"]).all() or (image[70:, :25] == COLOURS["b"]).all()
    assert image.min() > 0  # nothing is left out


def test_copies_are_mirrored_and_turned(folder: Path) -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    found = compose_image.variants([pyvips.Image.new_from_array(pixels)])
    shown = [next(found).numpy() for _ in range(5)]
    expected = [pixels, pixels[:, ::-1], pixels[::-1], pixels[::-1, ::-1], pixels]
    assert all(np.array_equal(one, two) for one, two in zip(shown, expected, strict=True))


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no picture"):
        compose_image.decoded(tmp_path, tmp_path)
