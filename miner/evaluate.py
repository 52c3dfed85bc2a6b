"""`python -m miner.evaluate RUN [IMAGE]`: score what a run has stored against an image."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich import get_console
from rich.progress import track

from miner.support.components import imported
from miner.support.errors import exit_status
from miner.support.process import say
from miner.support.run_files import read_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m miner.evaluate", description="Score what a run has stored against an image."
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder")
    names = "a file or sample:NAME (default: the image that was fitted)"
    add("image", nargs="?", metavar="IMAGE", help=names)
    own = "a module with classes of your own that RUN needs; can be repeated"
    add("--import", action="append", type=imported, metavar="MODULE", help=own)
    options = parser.parse_args(arguments)
    return exit_status(lambda: _print_scores(options.run, options.image))


def _print_scores(run: Path, image: str | None) -> None:
    for name, score in evaluate(run, image).items():
        say(f"{name:14} {'undefined' if score is None else format(score, '.6g')}")
    report = read_report(run) or {}
    if report.get("status", "finished") != "finished":
        say(f"status         {report['status']}; go on with python -m miner.run resume={run}")


def evaluate(run: Path, image: str | None = None) -> Mapping[str, Any]:
    """PSNR, SSIM and the other scores of level 0, by their names in reports.

    `image` is a file or sample:NAME, None for the one that was fitted; see `Representation.score`.
    """
    from miner.representation import load  # here: wrong arguments are answered at once

    representation = load(run)
    path = image or representation.fit.get("image", {}).get("path")
    if path is None:
        raise ValueError(f"{run}: does not say which image was fitted; name it after the folder")
    show = partial(track, transient=True, disable=not get_console().is_terminal)
    return representation.score(path, track=show)


if __name__ == "__main__":
    sys.exit(main())
