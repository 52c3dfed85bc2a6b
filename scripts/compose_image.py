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
from functools import reduce
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
        if not groups or picture.height > MAX_HEIGHT_RATIO * groups[-1][0].height:
            groups.append([])
        groups[-1].append(picture)
    return groups


def variants(pictures: list[Any]) -> Iterator[Any]:
    """All pictures as they are, then all mirrored, then upside down, then both, and so on."""
    for is_mirrored, is_turned in itertools.cycle([(0, 0), (1, 0), (0, 1), (1, 1)]):
        for picture in pictures:
            turned = picture.flipver() if is_turned else picture
            yield turned.fliphor() if is_mirrored else turned


def composed(pictures: list[Any], width: int, height: int) -> Any:
    """An image of shelves in turn, computed region by region when it is written."""
    stock = [(group[0].height, variants(group)) for group in shelves(pictures)]
    rows: list[Any] = []
    rest = height
    for shelf_height, source in itertools.cycle(stock):
        shown, pieces = min(shelf_height, rest), []
        left = 0
        while left < width:
            picture = next(source)
            columns = min(picture.width, width - left)
            pieces.append(picture.crop(0, (picture.height - shown) // 2, columns, shown))
            left += columns
        rows.append(reduce(lambda one, two: one.join(two, "horizontal"), pieces))
        rest -= shown
        if rest == 0:
            return reduce(lambda one, two: one.join(two, "vertical"), rows)


def write(image: Any, target: Path, compression: str) -> None:
    """Write a tiled BigTIFF."""
    tiles = {"tile": True, "tile_width": 512, "tile_height": 512, "bigtiff": True}
    image.tiffsave(str(target), **tiles, compression=compression, predictor="horizontal")


if __name__ == "__main__":
    main()
