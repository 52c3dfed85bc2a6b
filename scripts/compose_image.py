"""Compose one large photograph-like image from the pictures in a folder, in bounded memory.

python scripts/compose_image.py FOLDER OUT.tif --width 32768 --height 32768

Pictures of similar height stand side by side on shelves, at their own resolution; of those taller
than their shelf the middle is shown. When a shelf's pictures run out, they begin again, mirrored or
upside down. The result is a tiled BigTIFF of 8-bit RGB.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyvips

MAX_HEIGHT_RATIO = 1.5  # of two pictures on one shelf


def main() -> None:
    """Compose the image that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with pictures")
    parser.add_argument("target", type=Path, help="the TIFF file to write")
    parser.add_argument("--width", type=int, default=32768)
    parser.add_argument("--height", type=int, default=32768)
    parser.add_argument("--compression", choices=["deflate", "none"], default="deflate")
    options = parser.parse_args()
    if min(options.width, options.height) < 1:
        parser.error(f"{options.width}x{options.height}: give sides of 1 pixel or more")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.target.parent) as scratch:
        image = composed(decoded(options.folder, Path(scratch)), options.width, options.height)
        write(image, options.target, options.compression)
    seconds, size = time.perf_counter() - began, options.target.stat().st_size
    print(f"{options.target}: {size / 2**30:.2f} GiB in {seconds:.0f} s")


def decoded(folder: Path, scratch: Path) -> list[Any]:
    """The folder's 8- and 16-bit pictures as 8-bit RGB, in files of which regions can be read."""
    pictures = []
    for path in sorted(folder.iterdir()):
        try:
            image = pyvips.Image.new_from_file(str(path), access="sequential")
        except pyvips.Error:
            print(f"{path.name}: skipped, not an image that libvips opens")
            continue
        if image.format not in ("uchar", "ushort"):
            print(f"{path.name}: skipped, its values are {image.format}")
            continue
        plain = scratch / f"{path.stem}.v"
        image.autorot().colourspace("srgb")[:3].cast("uchar").write_to_file(str(plain))
        pictures.append(pyvips.Image.new_from_file(str(plain)))
    if not pictures:
        raise SystemExit(f"{folder}: holds no picture; give a folder with photographs")
    return pictures


def shelves(pictures: list[Any]) -> list[list[Any]]:
    """The pictures in groups of similar height, low ones first."""
    groups: list[list[Any]] = []
    for picture in sorted(pictures, key=lambda picture: picture.height):
        if groups and picture.height <= MAX_HEIGHT_RATIO * groups[-1][0].height:
            groups[-1].append(picture)
        else:
            groups.append([picture])
    return groups


def variants(pictures: list[Any]) -> Iterator[Any]:
    """All pictures as they are, then all mirrored, then upside down, then both, and so on."""
    for is_mirrored, is_turned in itertools.cycle([(0, 0), (1, 0), (0, 1), (1, 1)]):
        for picture in pictures:
            turned = picture.flipver() if is_turned else picture
            yield turned.fliphor() if is_mirrored else turned


def filled_row(source: Iterator[Any], width: int, height: int) -> Any:
    """Pictures side by side until the width is reached, each cut to the height."""
    row = None
    while row is None or row.width < width:
        picture = next(source)
        shown = min(picture.width, width - (row.width if row else 0))
        piece = picture.crop(0, (picture.height - height) // 2, shown, height)
        row = row.join(piece, "horizontal") if row else piece
    return row


def composed(pictures: list[Any], width: int, height: int) -> Any:
    """An image of shelves in turn, computed region by region when it is written."""
    stock = [(group[0].height, variants(group)) for group in shelves(pictures)]
    image = None
    for shelf_height, source in itertools.cycle(stock):
        rest = height - (image.height if image else 0)
        row = filled_row(source, width, min(shelf_height, rest))
        image = image.join(row, "vertical") if image else row
        if image.height == height:
            return image


def write(image: Any, target: Path, compression: str) -> None:
    """Write a tiled BigTIFF."""
    tiles = {"tile": True, "tile_width": 512, "tile_height": 512, "bigtiff": True}
    image.tiffsave(str(target), **tiles, compression=compression, predictor="horizontal")


if __name__ == "__main__":
    main()
