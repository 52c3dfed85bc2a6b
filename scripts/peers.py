"""Rows and tables of the sweeps that compare methods, and their figure.

python scripts/peers.py FOLDER [FOLDER ...]    a row for each finished run of these sweeps, into
                                               results/peers.tsv, before the tables are printed
python scripts/peers.py                        tables of all rows, and docs/images/peers.svg

The sweeps are `python -m miner.run -m experiment=peers/crops`, `peers/kodak IMAGES`, `peers/large
IMAGE`, `peers/codecs IMAGES`, `peers/jpeg2000 IMAGES` and `peers/record IMAGES`; one that was
interrupted goes on with hydra.sweep.dir=FOLDER.
"""

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from rows import ROOT, Value, append_row, provenance, read_rows

from miner.comparison.comparison import describe, estimate
from miner.comparison.runs import Result, read_results

RESULTS = ROOT / "results" / "peers.tsv"
FIGURE = ROOT / "docs" / "images" / "peers.svg"
SCORES = ("psnr_db", "ssim", "n_parameters", "parameters_per_pixel", "bits_per_pixel", "fit_time_s")
SECONDS = (1, 2, 5, 10, 20, 60, 120, 300)
LIMITS = {"peers/crops": 20, "peers/kodak": 60}  # seconds of the panels
SWEPT = ("method.codec.quality", "method.parameters_per_pixel")  # whose value is a row's quality
Row = Mapping[str, str]


def main() -> None:
    """Add rows, print the tables, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="*", help="of sweeps")
    options = parser.parse_args()
    known = {identity(row) for row in read_rows(RESULTS)} if RESULTS.exists() else set()
    for result in read_results(options.folders) if options.folders else ():
        row = row_of(result) if result.status == "finished" else None
        if row is None:
            print(f"left out: {result.name}: {result.status} {result.reason}")
        elif identity(row) not in known:
            append_row(RESULTS, row)
    latest = {identity(row)[:-1]: row for row in read_rows(RESULTS)}  # of commits in their order
    rows = sorted(latest.values(), key=lambda row: row["part"])
    for part, several in groupby(rows, key=lambda row: row["part"]):
        print(f"\n{part}")
        print_table(list(several))
    draw(rows, FIGURE)


def identity(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells runs apart; the commit comes last."""
    return tuple(
        str(row[name]) for name in ("part", "image", "method", "quality", "seed", "commit")
    )


def row_of(result: Result) -> dict[str, Value]:
    """What a run has scored, and the PSNR that it had reached after so many seconds."""
    report, part = result.report, result.choices.get("experiment", "")
    number: dict[str, Any] = {name: report.get(name) for name in SCORES}
    end, limit = float(report["fit_time_s"]), result.config["method"]["max_seconds"]
    curve = [(row[2], row[-1]) for row in result.curve]  # seconds, PSNR
    curve.append((min(end, limit or end), report["psnr_db"]))  # a step may end after the limit
    command = f"python -m miner.run -m experiment={part} {result.image}"
    origin = provenance(command) | {"commit": str(report.get("commit"))[:7]}
    return {
        "part": part,
        "image": result.image,
        "method": result.choices.get("method", "miner"),
        "quality": next(filter(None, map(result.overrides.get, SWEPT)), ""),
        "seed": str(report.get("seed")),
        **{name: math.nan if value is None else float(value) for name, value in number.items()},
        "steps": report.get("n_steps", ""),
        "diverged": str(report.get("diverged", "")),
        "last_fifth_db": last_gain(curve, end),
        **{f"psnr_{s}_s": reached(curve, s) for s in SECONDS},
        **origin,
    }


def reached(curve: Sequence[tuple[Any, Any]], seconds: float) -> float:
    """The best PSNR of a curve up to some time; NaN before there is any."""
    found = [psnr for at, psnr in curve if at is not None and at <= seconds and psnr is not None]
    return max(found, default=math.nan)


def last_gain(curve: Sequence[tuple[Any, Any]], end: float) -> float:
    """What the last fifth of a training has gained."""
    return reached(curve, math.inf) - reached(curve, 0.8 * end)


def print_table(rows: Sequence[Row]) -> None:
    """A line for each method and quality, best first, with the difference to `miner`."""
    methods: dict[str, list[Row]] = {}
    for row in rows:
        methods.setdefault(f"{row['method']} {row['quality']}".strip(), []).append(row)
    plain = {(row["image"], row["seed"]): row for row in methods.get("miner", ())}
    for name, own in sorted(methods.items(), key=lambda item: -average(item[1], "psnr_db")):
        scores = "  ".join(f"{score} {average(own, score):.4g}" for score in SCORES)
        at = "  ".join(f"{s} s {average(own, f'psnr_{s}_s'):.2f}" for s in SECONDS)
        gain = average(own, "last_fifth_db")
        state = "" if math.isnan(gain) else f"  gained {gain:.2f} dB in the last fifth"
        state += f"  {average(own, 'steps'):.0f} steps" if own[0]["steps"] else ""
        diverged = sum(row["diverged"] == "True" for row in own)
        print(f"{name:16s} {scores}{state}{f'  {diverged} diverged' if diverged else ''}\n    {at}")
        pairs = [(row, plain.get((row["image"], row["seed"]))) for row in own]
        samples = [
            (row["image"], row["seed"], float(row["psnr_db"]) - float(other["psnr_db"]))
            for row, other in pairs
            if other is not None
        ]
        if samples and name != "miner" and not own[0]["quality"]:
            print(f"    {name} − miner = {describe(estimate(samples), 'dB')}")


def names_of(rows: Iterable[Row]) -> list[str]:
    """The methods, as they first occur."""
    return list(dict.fromkeys(row["method"] for row in rows))


def average(rows: Iterable[Row], name: str) -> float:
    """The mean over images of the means over their runs; NaN where nothing is known."""
    images: dict[str, list[float]] = {}
    for row in rows:
        if row[name] and not math.isnan(float(row[name])):
            images.setdefault(row["image"], []).append(float(row[name]))
    return fmean([fmean(values) for values in images.values()]) if images else math.nan


def draw(rows: Sequence[Row], path: Path) -> None:
    """PSNR over seconds of the sweeps in `LIMITS`, and over bits where codecs were run."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    coded = [row for row in rows if row["part"] in ("peers/codecs", "peers/jpeg2000")]
    figure = Figure(figsize=(11 if coded else 8, 4.2), facecolor="white")
    panels, order = figure.subplots(1, 3 if coded else 2), names_of(rows)
    colours = dict(zip(order, colormaps["tab20"](range(len(order))), strict=True))
    for axes, (part, limit) in zip(panels, LIMITS.items(), strict=False):
        for name in order:
            own = [row for row in rows if row["method"] == name and row["part"] == part]
            at = [(float(s), average(own, f"psnr_{s}_s")) for s in SECONDS if s <= limit]
            known = [point for point in at if not math.isnan(point[1])]
            if known:
                style = {"marker": "o", "color": colours[name], "label": name}
                axes.plot(*zip(*known, strict=True), **style)
        axes.set(xscale="log", xlabel="seconds of the fit", ylabel="PSNR (dB)", title=part)
    for name in names_of(coded):
        by_quality: dict[str, list[Row]] = {}
        for row in coded:
            if row["method"] == name:
                by_quality.setdefault(row["quality"], []).append(row)
        points = sorted(
            (average(several, "bits_per_pixel"), average(several, "psnr_db"))
            for several in by_quality.values()
        )
        style = {"marker": "o", "color": colours[name], "label": name}
        panels[2].plot(*zip(*points, strict=True), **style)
        panels[2].set(xlabel="bits per pixel", title="codecs")
    found = [axes.get_legend_handles_labels() for axes in panels]
    lines = {text: line for own in found for line, text in zip(*own, strict=True)}
    figure.legend(lines.values(), lines.keys(), loc="lower center", ncols=6, frameon=False)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
