"""Tabulate and draw what ablations and sweeps found: results/*.tsv into docs/.

python scripts/findings.py                              all tables and figures
python scripts/findings.py --only pyramid

A table replaces what docs/findings.md has between `<!-- table NAME -->` and `<!-- end -->`; a
figure is docs/images/findings_NAME.png. Differences at equal parameters are read off the curves
that the three widths draw.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from recipes import EARLY_STEPS, NUMBERS
from rows import ROOT, read_rows
from tables import markdown

from miner.comparison.comparison import Comparison, Difference, Estimate, describe, estimate
from miner.comparison.runs import Result

ALL_NUMBERS = (*NUMBERS, *(f"psnr_db_after_{steps}" for steps in EARLY_STEPS))
ORIGIN = ("date", "commit", "hardware", "command")
FINDINGS = ROOT / "docs" / "findings.md"
PICTURES = ROOT / "docs" / "images"
LEAST_POINTS = 3  # of a curve
LEAST_OVERLAP = 0.25  # of the shorter curve

Curve = tuple[Sequence[float], Sequence[float]]
"""Costs, ascending, and the quality at each."""


class Claim(NamedTuple):
    """Values of a factor against its baseline, under each combination of some conditions."""

    table: str
    factor: str
    baseline: str
    conditions: Sequence[str]
    size: str = "model.width"  # what draws the curves over parameters


BOUND = "fitting.max_mse"
CLAIMS = {
    "pyramid": Claim("pyramid", "pyramid", "gaussian", ["readout", "fitting.coarse_ratio"]),
    "selection": Claim("selection", "level_selection", "per_level", ["pyramid"], BOUND),
    "pyramid_gaussian": Claim("pyramid_gaussian", "pyramid", "gaussian", ["readout"]),
    "weights": Claim("weights", "weights", "fresh", ["readout", "pyramid"]),
    "activation": Claim("activation", "activation", "gaussian", ["readout", "encoding"]),
    "encoding": Claim("activation", "encoding", "none", ["readout", "activation"]),
    "optimizer": Claim("optimizer", "optimizer", "adam_paper", ["readout", "pruning", BOUND]),
    "stopping": Claim("optimizer", "pruning", "absolute_mse", ["readout", "optimizer", BOUND]),
    "bound": Claim("optimizer", BOUND, "0.0001", ["readout", "optimizer", "pruning"]),
}


class Line(NamedTuple):
    """One value minus the baseline in one condition."""

    value: str
    condition: str
    same_settings: Estimate
    same_size: Estimate | None
    early: Estimate
    seconds: Estimate


def main() -> None:
    """Write and draw what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=CLAIMS, action="append", help="default: all")
    for name in parser.parse_args().only or CLAIMS:
        claim = CLAIMS[name]
        comparison = read_comparison(ROOT / "results" / "ablations" / f"{claim.table}.tsv")
        lines = compare(claim, comparison)
        put(FINDINGS, name, claim_table(claim, lines))
        draw(claim, lines, PICTURES / f"findings_{name}.png")
        if name == "bound":
            put(FINDINGS, "bound_by_image", bound_by_image(claim, comparison))


def read_comparison(path: Path) -> Comparison:
    """The jobs of a table; what is neither a number nor an origin is a setting."""
    results = []
    for index, row in enumerate(read_rows(path)):
        chosen = {key: value for key, value in row.items() if key not in ALL_NUMBERS + ORIGIN}
        report = {key: float(row[key]) for key in ALL_NUMBERS if row.get(key)}
        folder, image = Path(str(index)), row["image"]
        results.append(Result(folder, "finished", "", chosen, report=report, image=image))
    return Comparison(results)


def compare(claim: Claim, comparison: Comparison) -> list[Line]:
    """Every value of the factor in every condition."""
    lines = []
    conditions = [comparison.factors[name] for name in claim.conditions]
    others = [value for value in comparison.factors[claim.factor] if value != claim.baseline]
    for value, chosen in product(others, product(*conditions)):
        pair = subset(comparison, claim, value, chosen)
        same, early, seconds = (
            minus_baseline(pair.differences(claim.factor, metric), value)
            for metric in ("psnr_db", "psnr_db_after_50", "fit_time_s")
        )
        size = difference_at_equal_size(pair, claim.factor, claim.baseline, value, claim.size)
        lines.append(Line(value, ", ".join(chosen), same, size, early, seconds))
    return lines


def subset(comparison: Comparison, claim: Claim, value: str, chosen: Sequence[str]) -> Comparison:
    """The jobs with the value or the baseline where the conditions have the chosen values."""
    wanted = [(value, *chosen), (claim.baseline, *chosen)]
    names = (claim.factor, *claim.conditions)
    values = [tuple(comparison.value(run, n) for n in names) for run in comparison.results]
    pairs = zip(comparison.results, values, strict=True)
    return Comparison([run for run, found in pairs if found in wanted])


def difference_at_equal_size(
    comparison: Comparison, factor: str, baseline: str, value: str, size: str = "model.width"
) -> Estimate | None:
    """The paired difference in PSNR between curves over parameters; None where none overlap."""
    groups: dict[tuple[str, str, tuple[str, ...]], dict[str, dict[float, list[float]]]]
    groups = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in comparison.results:
        curves = groups[run.image, run.seed, comparison.setting(run, factor, size)]
        points = curves[comparison.value(run, factor)]
        points[run.numbers["n_parameters"]].append(run.numbers["psnr_db"])
    samples = []
    for (image, seed, _), curves in groups.items():
        one, two = (
            (sorted(points), [mean(points[size]) for size in sorted(points)])
            for points in (curves[baseline], curves[value])
        )
        distance = mean_distance(one, two)
        if distance is not None:
            samples.append((image, seed, distance))
    return estimate(samples) if samples else None


def mean_distance(baseline: Curve, other: Curve) -> float | None:
    """How far `other` is above `baseline`, mean over the log cost that both span.

    None for curves of too few points, and where that is less than a quarter of the shorter curve:
    one curve's best would be compared with the other's worst.
    """
    one, two = np.log(baseline[0]), np.log(other[0])
    if min(len(one), len(two)) < LEAST_POINTS:
        return None
    low, high = max(one[0], two[0]), min(one[-1], two[-1])
    if high - low < LEAST_OVERLAP * min(one[-1] - one[0], two[-1] - two[0]):
        return None
    knots = np.unique(np.clip(np.concatenate([one, two]), low, high))
    distance = np.interp(knots, two, other[1]) - np.interp(knots, one, baseline[1])
    return float(np.trapezoid(distance, knots) / (high - low))


def minus_baseline(differences: Sequence[Difference], value: str) -> Estimate:
    """The difference over all settings, whichever of the two values was subtracted."""
    found = differences[0].estimate
    return found if differences[0].value == value else replace(found, mean=0 - found.mean)


def claim_table(claim: Claim, lines: Sequence[Line]) -> str:
    """A table of differences, after how many images and seeds they are over."""
    titles = [f"minus {claim.baseline}", ", ".join(claim.conditions), "PSNR"]
    titles += ["at equal parameters", "after 50 steps", "fit time"]
    rows = [
        [
            *(f"`{line.value}`", line.condition),
            *(amount(line, found, "dB") for found in (line.same_settings, line.same_size)),
            *(amount(line, line.early, "dB"), amount(line, line.seconds, "s")),
        ]
        for line in lines
    ]
    counts = {describe(line.same_settings).partition("(")[2].rstrip(")") for line in lines}
    return f"Over {', '.join(sorted(counts))}:\n\n{markdown(titles, rows)}"


def bound_by_image(claim: Claim, comparison: Comparison) -> str:
    """A table of what the lower bound is worth on each image, under RAdam and the closed form."""
    chosen = ("closed_form", "radam_miner_pl", "absolute_mse")
    pair = subset(comparison, claim, "2e-07", chosen)
    rows = []
    for image in dict.fromkeys(result.image for result in pair.results):
        runs = Comparison([result for result in pair.results if result.image == image])
        found = minus_baseline(runs.differences(claim.factor, "psnr_db"), "2e-07")
        rows.append([f"`{image}`", f"{found.mean:+.1f} dB"])
    return markdown(["image", "PSNR at 2e-7 minus that at 1e-4"], rows)


def put(document: Path, name: str, table: str) -> None:
    """Replace what the document has between a table's marks."""
    text = document.read_text()
    before, mark, rest = text.partition(f"<!-- table {name} -->\n")
    if not mark:
        raise SystemExit(f"{document}: has no line '<!-- table {name} -->'")
    document.write_text(f"{before}{mark}{table}\n{rest[rest.index('<!-- end -->') :]}")


def amount(line: Line, found: Estimate | None, unit: str) -> str:
    """`+2.60 ± 0.40 dB`; with the counts where fewer images or seeds than at equal settings."""
    if found is None:
        return "no overlap"
    full = line.same_settings
    spread = "" if found.half_width is None else f" ± {found.half_width:.2f}"
    fewer = (found.n_images, found.n_seeds) != (full.n_images, full.n_seeds)
    counts = f" ({describe(found).partition('(')[2]}" if fewer else ""
    return f"{found.mean:+.2f}{spread} {unit}{counts}"


def draw(claim: Claim, lines: Sequence[Line], path: Path) -> None:
    """Draw every difference of PSNR with its interval, at equal settings and equal parameters."""
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.32 * len(lines)), layout="constrained")
    rows = list(enumerate(reversed(lines)))
    settings = [(i + 0.14, line.same_settings) for i, line in rows]
    sizes = [(i - 0.14, line.same_size) for i, line in rows if line.same_size]
    for found, marker, label in ((settings, "o", "settings"), (sizes, "s", "parameters")):
        heights, estimates = zip(*found, strict=True)
        means = [estimate.mean for estimate in estimates]
        spreads = [estimate.half_width or 0 for estimate in estimates]
        label = f"equal {label}"
        axes.errorbar(means, heights, xerr=spreads, fmt=marker, ms=4, capsize=2, label=label)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(lines)), [f"{line.value}: {line.condition}" for _, line in rows])
    note = f"PSNR minus that of {claim.factor}={claim.baseline} (dB), 95 % intervals over images"
    figure.supxlabel(note, fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
