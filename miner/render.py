"""`python -m miner.render RUN OUT`: write what a run has stored as an image, tile by tile."""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich import get_console
from rich.progress import track

from miner.signals.regions import sides_of
from miner.support.components import imported
from miner.support.errors import exit_status
from miner.support.process import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Render a level of a representation, or a region of it, into a file; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m miner.render",
        description="Write what a run has stored as an image of any size.",
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder")
    formats = "the file to write: .tif, .png, .jpg, .webp, .avif, .exr or .npy"
    add("out", type=Path, metavar="OUT", help=formats)
    add("--level", type=int, default=0, help="0 is full size, each further level half of it")
    pixels = "a region, in that level's pixels, ends exclusive: --region 0:512 256:1024"
    add("--region", type=_span, nargs=2, metavar=("ROWS", "COLUMNS"), help=pixels)
    add("--scale", type=float, help="so many times the size: the networks, between pixels")
    sides = "the same, by its sides, to which the image is stretched"
    add("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help=sides)
    add("--overwrite", action="store_true", help="replace OUT if it exists")
    own = "a module with classes of your own that RUN needs; can be repeated"
    add("--import", action="append", type=imported, metavar="MODULE", help=own)
    options = parser.parse_args(arguments)
    return exit_status(lambda: _render(options))


def _render(options: argparse.Namespace) -> None:
    from miner.representation import load  # here: wrong arguments are answered at once
    from miner.representation.output import size_of
    from miner.representation.rendering import box_of

    level, path = options.level, options.out
    if os.path.lexists(path) and not options.overwrite:
        raise ValueError(f"{path}: is there already; name another file, or --overwrite")
    representation = load(options.run)
    region = box_of(representation.spec, level, options.region and tuple(options.region))
    if not representation.shards:
        raise ValueError("no level is finished yet; go on with python -m miner.run resume=FOLDER")
    finest = min(representation.shards)
    if finest > level:
        say(f"level {level} is not fitted yet: this is level {finest}, enlarged")
    is_quiet = not get_console().is_terminal
    show = partial(track, description=f"level {level}", transient=True, disable=is_quiet)
    scale, size = options.scale, options.size and options.size[::-1]
    representation.render(level, region, scale=scale, size=size, out=path, track=show)
    height_px, width_px = size_of(sides_of(region), scale, size)
    height, width = sides_of(region)
    stretch = width_px / width * height / height_px
    if size and abs(stretch - 1) > 0.01:
        say(f"stretched: a square becomes {stretch:.3g} times as wide as high")
    say(f"wrote {path}: {width_px} x {height_px} pixels of level {level}")


def _span(text: str) -> tuple[int, int]:
    first, _, end = text.partition(":")
    try:
        return int(first), int(end)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give FIRST:END, as 0:512") from None


if __name__ == "__main__":
    sys.exit(main())
