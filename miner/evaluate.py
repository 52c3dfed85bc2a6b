"""`python -m miner.evaluate RUN [IMAGE]`: score what a run has stored against an image."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich import get_console
from rich.progress import track

from miner.signals.scratch import Scratch
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

    `image` is a file or sample:NAME, None for the one that was fitted; of either, the part that the
    run's `image.crop_px` takes. Raises `ValueError` if it has another size or other channels.
    """
    from miner.images.source import open_like  # here: wrong arguments are answered at once
    from miner.metrics.scores import score
    from miner.representation import MANIFEST, REPRESENTATION_FOLDER, load, read_manifest
    from miner.signals.signal import SourceSignal

    representation = load(run)
    inner = run / REPRESENTATION_FOLDER
    fit = read_manifest(inner if (inner / MANIFEST).exists() else run).fit
    path = image or fit.get("image", {}).get("path")
    if path is None:
        raise ValueError(f"{run}: does not say which image was fitted; name it after the folder")
    settings = fit.get("settings", {}).get("image", {})
    spec = representation.spec
    with Scratch(None) as scratch:
        given = settings.get("crop_px"), scratch, settings.get("axes")
        opened = open_like(path, spec.pixel_format, *given, settings.get("range", "auto"))
        if (opened.n_channels, *opened.sides) != (spec.n_channels, *spec.sides):
            raise ValueError(
                f"{path}: has {opened.n_channels} channels of {opened.sides} pixels, and {run} "
                f"{spec.n_channels} of {spec.sides}; name the image that was fitted"
            )
        target = SourceSignal(opened.read, spec.n_channels, spec.sides)
        show = partial(track, transient=True, disable=not get_console().is_terminal)
        scores = score(spec.grid(0), target, representation.image(), show)
        return scores | spec.pixel_format.over_type(scores["psnr_db"])


if __name__ == "__main__":
    sys.exit(main())
