"""Compose one large photograph-like image from the pictures in a folder, in bounded memory.

python scripts/compose_image.py FOLDER OUT.tif --width 32768 --height 32768

Pictures lie side by side at their own resolution, one after another in the order of their names;
where one does not fit, its middle is taken. When they run out, they begin again, turned by a
quarter or mirrored. The result is a tiled BigTIFF of 8-bit RGB.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyvips

LEAST_SIDE = 256
"""Pixels along the shorter side of what is left beside a picture."""

_TURNS = ("d0", "d90", "d180", "d270")
_OF_PHOTOGRAPHS = ("uchar", "ushort")


class Box(NamedTuple):
    """A part of the image that is to be covered."""

    left: int
    top: int
    width: int
    height: int


def main() -> None:
    """Compose the image that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with pictures")
    parser.add_argument("target", type=Path, help="the TIFF file to write")
    parser.add_argument("--width", type=int, default=32768)
    parser.add_argument("--height", type=int, default=32768)
    parser.add_argument("--compression", choices=["deflate", "none"], default="deflate")
    arguments = parser.parse_args()
    if min(arguments.width, arguments.height) < 1:
        parser.error(f"{arguments.width}x{arguments.height}: give sides of 1 pixel or more")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=arguments.target.parent) as scratch:
        pictures = decoded(arguments.folder, Path(scratch))
        image = composed(pictures, arguments.width, arguments.height)
        write(image, arguments.target, arguments.compression)
    seconds, size = time.perf_counter() - began, arguments.target.stat().st_size
    print(f"{arguments.target}: {size / 2**30:.2f} GiB in {seconds:.0f} s")


def decoded(folder: Path, scratch: Path) -> list[Any]:
    """The folder's 8- and 16-bit pictures as 8-bit RGB, uncompressed in files of their own.

    Parts of such files are read without holding the rest in memory.
    """
    pictures = []
    for path in sorted(folder.iterdir()):
        try:
            image = pyvips.Image.new_from_file(str(path), access="sequential")
        except pyvips.Error:
            print(f"{path.name}: passed over, not an image that libvips opens")
            continue
        if image.format not in _OF_PHOTOGRAPHS:
            print(f"{path.name}: passed over, its values are {image.format}")
            continue
        plain = scratch / f"{path.stem}.v"
        image.autorot().colourspace("srgb")[:3].cast("uchar").write_to_file(str(plain))
        pictures.append(pyvips.Image.new_from_file(str(plain)))
    if not pictures:
        raise SystemExit(f"{folder}: holds no picture; give a folder with photographs")
    return pictures


def variants(pictures: list[Any]) -> Iterator[Any]:
    """All pictures as they are, then turned by 90, 180 and 270 degrees, then so and mirrored."""
    for is_mirrored, turn in itertools.cycle(itertools.product((False, True), _TURNS)):
        for picture in pictures:
            turned = picture.rot(turn)
            yield turned.fliphor() if is_mirrored else turned


def composed(pictures: list[Any], width: int, height: int) -> Any:
    """An image of pictures side by side, computed part by part when it is written."""
    image = pyvips.Image.black(width, height, bands=3).copy(interpretation="srgb")
    source, open_boxes = variants(pictures), [Box(0, 0, width, height)]
    while open_boxes:
        box = open_boxes.pop()
        picture = next(source)
        taken = Box(
            box.left, box.top, _share(picture.width, box.width), _share(picture.height, box.height)
        )
        left, top = (picture.width - taken.width) // 2, (picture.height - taken.height) // 2
        piece = picture.crop(left, top, taken.width, taken.height)
        image = image.insert(piece, taken.left, taken.top)
        open_boxes += _rest(box, taken)
    return image


def write(image: Any, target: Path, compression: str) -> None:
    """Write a tiled BigTIFF, in tiles of 512 pixels a side."""
    image.tiffsave(
        str(target),
        tile=True,
        tile_width=512,
        tile_height=512,
        bigtiff=True,
        compression=compression,
        predictor="horizontal",
    )


def _share(wanted: int, room: int) -> int:
    """How much of a picture's side to show, so that no narrow strip is left beside it."""
    shown = min(wanted, room)
    return (
        shown if shown == room or room - shown >= LEAST_SIDE else max(room - LEAST_SIDE, room // 2)
    )


def _rest(box: Box, taken: Box) -> list[Box]:
    """What a picture in the corner of a box leaves: below it, and beside it."""
    below = Box(box.left, box.top + taken.height, box.width, box.height - taken.height)
    beside = Box(box.left + taken.width, box.top, box.width - taken.width, taken.height)
    return [rest for rest in (below, beside) if rest.width and rest.height]


if __name__ == "__main__":
    main()
