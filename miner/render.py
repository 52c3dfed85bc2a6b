"""`python -m miner.render RUN OUT`: write what a run has stored as an image, tile by tile."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import get_console
from rich.progress import track

from miner.signals.regions import Region, sides_of, tiles, whole
from miner.signals.scratch import IN_MEMORY_BYTES as _IN_MEMORY_BYTES
from miner.signals.scratch import Scratch, n_bytes
from miner.support.console import say

if TYPE_CHECKING:
    from miner.representation import Representation


def main(arguments: Sequence[str] | None = None) -> int:
    """Render a level of a representation, or a part of one, into a file; give the exit status."""
    options = _parser().parse_args(arguments)
    # below: so that --help and mistakes in the arguments are answered at once
    from miner.representation import load
    from miner.support.errors import ImageError, RepresentationError

    try:
        if options.out.exists() and not options.overwrite:
            raise ValueError(f"{options.out}: is there already; name another file, or --overwrite")
        representation = load(options.run)
        region = _region(representation, options.level, options.region)
        _render(representation, options.level, region, options.out)
    except (ImageError, RepresentationError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _render(representation: "Representation", level: int, region: Region, path: Path) -> None:
    from miner.images import PixelCanvas, check_writable_format

    spec = representation.spec
    height_px, width_px = sides_of(region)
    check_writable_format(path, spec.pixel_format, height_px, width_px)
    size = n_bytes((height_px, width_px, spec.n_channels), spec.pixel_format.dtype)
    place = None if size <= _IN_MEMORY_BYTES else path.with_name(f".{path.name}.scratch")
    with Scratch(place) as scratch:
        canvas = PixelCanvas(spec.pixel_format, height_px, width_px, scratch)
        for tile in track(
            list(tiles((height_px, width_px))),
            f"level {level}",
            transient=True,
            disable=not get_console().is_terminal,
        ):
            part = tuple(
                (low + first, high + first)
                for (low, high), (first, _) in zip(tile, region, strict=True)
            )
            canvas.fill(tile, representation.render(level, part))
        canvas.save(path)
    say(f"wrote {path}: {width_px} x {height_px} pixels of level {level}")


def _region(
    representation: "Representation", level: int, asked: Sequence[tuple[int, int]] | None
) -> Region:
    """The box to render.

    Raises:
        ValueError: no such level or region, or nothing that could be shown.
    """
    from miner.representation.render import check_region

    spec = representation.spec
    if len(spec.sides) != 2:
        raise ValueError(f"a volume of {len(spec.sides)} axes: only images are rendered to files")
    if not 0 <= level < spec.n_levels:
        raise ValueError(f"--level {level}: must be 0 (full size) to {spec.n_levels - 1}")
    if not representation.shards:
        raise ValueError("no level is finished yet; go on with python -m miner.run resume=FOLDER")
    finest = min(representation.shards)
    if finest > level:
        say(f"level {level} is not fitted yet: this is level {finest}, enlarged")
    if asked is None:
        return whole(spec.level_sides[level])
    check_region(tuple(asked), spec.level_sides[level])
    return tuple(asked)


def _span(text: str) -> tuple[int, int]:
    first, _, end = text.partition(":")
    try:
        return int(first), int(end)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give FIRST:END, as 0:512") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m miner.render",
        description="Write what a run has stored as an image of any size.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="the file to write: .tif, .png, .jpg, .webp, .avif, .exr or .npy",
    )
    parser.add_argument(
        "--level", type=int, default=0, help="0 is full size, each further level half of it"
    )
    parser.add_argument(
        "--region",
        type=_span,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="a part, in that level's pixels, ends exclusive: --region 0:512 256:1024",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
