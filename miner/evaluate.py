"""`python -m miner.evaluate RUN [IMAGE]`: score what a run has stored against an image."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import get_console
from rich.progress import track

from miner.signals.regions import TILE_SIDE, extended, tiles
from miner.signals.scratch import Scratch
from miner.support.errors import exit_status
from miner.support.process import say
from miner.support.run_files import read_report

_ANY_SIZE = 2**63


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scores; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m miner.evaluate", description="Score what a run has stored against an image."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    names = "a file or sample:NAME (default: the image that was fitted)"
    parser.add_argument("image", nargs="?", metavar="IMAGE", help=names)
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
    import torch

    from miner.images.source import (
        inspect_image,
        open_image,
    )  # here: wrong arguments are answered at once
    from miner.metrics.scores import Evaluation
    from miner.representation import MANIFEST, REPRESENTATION_FOLDER, load, read_manifest

    representation = load(run)
    inner = run / REPRESENTATION_FOLDER
    fit = read_manifest(inner if (inner / MANIFEST).exists() else run).fit
    path = image or fit.get("image", {}).get("path")
    if path is None:
        raise ValueError(f"{run}: does not say which image was fitted; name it after the folder")
    settings = fit.get("settings", {}).get("image", {})
    spec = representation.spec
    with Scratch(None) as scratch:
        crop_px, axes = settings.get("crop_px"), settings.get("axes")
        dtype = inspect_image(path, _ANY_SIZE, crop_px, axes).dtype
        is_alike = dtype == spec.pixel_format.dtype  # else each in the range of its type
        value_range = settings.get("range", "auto") if is_alike else "dtype"
        opened = open_image(path, _ANY_SIZE, crop_px, scratch, axes, value_range)
        if (opened.n_channels, *opened.sides) != (spec.n_channels, *spec.sides):
            raise ValueError(
                f"{path}: has {opened.n_channels} channels of {opened.sides} pixels, and {run} "
                f"{spec.n_channels} of {spec.sides}; name the image that was fitted"
            )
        if is_alike:
            opened = replace(opened, format=spec.pixel_format)
        evaluation, seconds = Evaluation(spec), 0.0
        regions, is_quiet = list(tiles(spec.sides, TILE_SIDE)), not get_console().is_terminal
        for region in track(regions, transient=True, disable=is_quiet):
            box, began = extended(region, spec.sides, evaluation.reach), time.perf_counter()
            preds = representation.reconstruct(0, box).clamp_(0, 1)
            seconds += time.perf_counter() - began
            evaluation.add(region, torch.from_numpy(opened.read(box)), preds)
        return evaluation.scores() | {"render_time_s": seconds}


if __name__ == "__main__":
    sys.exit(main())
