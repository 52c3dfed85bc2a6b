"""Tabulate and draw what ablations and sweeps found: results/*.tsv into docs/.

python scripts/findings.py                              all tables and figures
python scripts/findings.py --only pyramid
python scripts/findings.py --only pareto                docs/images/front.png, and a printed table

A table replaces what docs/findings.md has between `<!-- table NAME -->` and `<!-- end -->`; a
figure is docs/images/findings_NAME.png.

Differences are paired (same image, same seed, all else equal), averaged over seeds and the other
settings within an image; the interval is Student's, 95 %, over images. At equal parameters they are
read off the curves that the three widths draw.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from recipes import EARLY_STEPS, NUMBERS
from rows import ROOT, read_rows
from tables import grouped, markdown

from miner.comparison.comparison import Comparison
from miner.comparison.differences import Difference, differences_at_equal_cost, paired_differences
from miner.comparison.runs import Result
from miner.comparison.statistics import Estimate, describe, pareto_front

ALL_NUMBERS = (*NUMBERS, *(f"psnr_db_after_{steps}" for steps in EARLY_STEPS))
ORIGIN = ("date", "commit", "hardware", "command")
FINDINGS = ROOT / "docs" / "findings.md"
PICTURES = ROOT / "docs" / "images"
RECIPES = ("fast", "balanced", "quality", "smallest", "budget")


class Claim(NamedTuple):
    """Values of a factor against its baseline, under each combination of some conditions."""

    table: str
    factor: str
    baseline: str
    conditions: Sequence[str]


CLAIMS = {
    "pyramid": Claim("pyramid", "pyramid", "gaussian", ["readout", "fitting.coarse_ratio"]),
    "pyramid_gaussian": Claim("pyramid_gaussian", "pyramid", "gaussian", ["readout"]),
    "weights": Claim("weights", "weights", "fresh", ["readout", "pyramid"]),
    "activation": Claim("activation", "activation", "gaussian", ["readout", "encoding"]),
    "encoding": Claim("activation", "encoding", "none", ["readout", "activation"]),
    "optimizer": Claim(
        "optimizer", "optimizer", "adam_paper", ["readout", "pruning", "fitting.max_mse"]
    ),
    "stopping": Claim(
        "optimizer", "pruning", "absolute_mse", ["readout", "optimizer", "fitting.max_mse"]
    ),
    "bound": Claim("optimizer", "fitting.max_mse", "0.0001", ["readout", "optimizer", "pruning"]),
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
    names = (*CLAIMS, "pareto")
    parser.add_argument("--only", choices=names, action="append", help="default: all")
    for name in parser.parse_args().only or names:
        if name == "pareto":
            draw_recipes(PICTURES / "front.png")
            continue
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
        numbers = {key: float(row[key]) for key in ALL_NUMBERS if row[key]}
        report = {"seed": int(row["seed"]), **numbers}
        results.append(
            Result(Path(str(index)), "finished", "", chosen, report=report, image=row["image"])
        )
    return Comparison(results)


def compare(claim: Claim, comparison: Comparison) -> list[Line]:
    """Every value of the factor in every condition."""
    lines = []
    conditions = [comparison.factors[name] for name in claim.conditions]
    for value, chosen in product(comparison.factors[claim.factor], product(*conditions)):
        if value == claim.baseline:
            continue
        wanted = dict(zip(claim.conditions, chosen, strict=True))
        pair = subset(comparison, claim, value, wanted)
        same, early, seconds = (
            minus_baseline(paired_differences(pair, claim.factor, metric), value)
            for metric in ("psnr_db", "psnr_db_after_50", "fit_time_s")
        )
        curves = differences_at_equal_cost(pair, claim.factor, "model.width", "n_parameters")
        size = minus_baseline(curves, value) if curves else None
        lines.append(Line(value, ", ".join(chosen), same, size, early, seconds))
    return lines


def subset(
    comparison: Comparison, claim: Claim, value: str, wanted: Mapping[str, str]
) -> Comparison:
    """The jobs of a condition with the value or the baseline."""
    wanted_values = {claim.factor: [claim.baseline, value]}
    wanted_values |= {name: [choice] for name, choice in wanted.items()}
    return Comparison(
        [
            result
            for result in comparison.results
            if all(comparison.value(result, key) in found for key, found in wanted_values.items())
        ]
    )


def minus_baseline(differences: Sequence[Difference], value: str) -> Estimate:
    """The difference over all settings, whichever of the two values was subtracted."""
    found = differences[0].estimate
    return found if differences[0].value == value else replace(found, mean=0 - found.mean)


def claim_table(claim: Claim, lines: Sequence[Line]) -> str:
    """A table of differences, after how many images and seeds they are over."""
    titles = ["minus " + claim.baseline, ", ".join(claim.conditions), "PSNR", "at equal parameters"]
    rows = [
        [
            *(f"`{line.value}`", line.condition),
            *(amount(line, found, "dB") for found in (line.same_settings, line.same_size)),
            *(amount(line, line.early, "dB"), amount(line, line.seconds, "s")),
        ]
        for line in lines
    ]
    counts = {describe(line.same_settings).partition("(")[2].rstrip(")") for line in lines}
    table = markdown([*titles, "after 50 steps", "fit time"], rows)
    return f"Over {', '.join(sorted(counts))}:\n\n{table}"


def bound_by_image(claim: Claim, comparison: Comparison) -> str:
    """A table of what the lower bound is worth on each image, under RAdam and the closed form."""
    wanted = {"readout": "closed_form", "optimizer": "radam_miner_pl", "pruning": "absolute_mse"}
    pair = subset(comparison, claim, "2e-07", wanted)
    rows = []
    for image in dict.fromkeys(result.image for result in pair.results):
        runs = Comparison([result for result in pair.results if result.image == image])
        found = minus_baseline(paired_differences(runs, claim.factor, "psnr_db"), "2e-07")
        rows.append([f"`{image}`", f"{found.mean:+.1f} dB"])
    return markdown(["image", "PSNR at 2e-7 minus that at 1e-4"], rows)


def put(document: Path, name: str, table: str) -> None:
    """Replace what the document has between a table's marks."""
    text = document.read_text()
    before, mark, rest = text.partition(f"<!-- table {name} -->\n")
    if not mark:
        raise SystemExit(f"{document}: has no line '<!-- table {name} -->'")
    after = rest[rest.index("<!-- end -->") :]
    document.write_text(f"{before}{mark}{table}\n{after}")


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
        axes.errorbar(
            [estimate.mean for _, estimate in found],
            [height for height, _ in found],
            xerr=[estimate.half_width or 0 for _, estimate in found],
            fmt=marker,
            markersize=4,
            capsize=2,
            label=f"equal {label}",
        )
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(lines)), [f"{line.value}: {line.condition}" for _, line in rows])
    note = f"PSNR minus that of {claim.factor}={claim.baseline} (dB), 95 % intervals over images"
    figure.supxlabel(note, fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_recipes(path: Path) -> None:
    """Print means over the images of results/recipe.tsv, and draw them with the Pareto fronts."""
    rows = read_rows(ROOT / "results" / "recipe.tsv")
    groups = grouped(rows, ("commit", "factor", "value"))
    qualities, parameters, seconds = (
        [mean(float(row[name]) for row in group) for group in groups.values()]
        for name in ("psnr_db", "parameters_per_pixel", "fit_time_s")
    )
    lines = [
        [commit, f"`{factor}={value}`", f"{psnr:.2f}", f"{per_pixel:.3f}", f"{time:.2f}"]
        for (commit, factor, value), psnr, per_pixel, time in zip(
            groups, qualities, parameters, seconds, strict=True
        )
    ]
    titles = ["commit", "setting", "PSNR (dB)", "parameters per pixel", "fit (s)"]
    print(markdown(titles, lines))
    latest = {  # the recipes in the latest sweep
        index: value
        for index, (commit, factor, value) in enumerate(groups)
        if factor == "experiment" and value in RECIPES and commit == rows[-1]["commit"]
    }
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="tight")
    draw_points(left, parameters, qualities, latest)
    draw_points(right, seconds, qualities, latest)
    left.set(xlabel="parameters per pixel", ylabel="PSNR (dB), mean of five images")
    right.set(xlabel="seconds of fit", xscale="log")
    figure.savefig(path, dpi=110)


def draw_points(
    axes: Axes, costs: Sequence[float], qualities: Sequence[float], names: Mapping[int, str]
) -> None:
    """Scatter qualities over costs, draw the Pareto front, and name some points."""
    axes.scatter(costs, qualities, s=12, color="0.6")
    front = [(costs[i], qualities[i]) for i in pareto_front(costs, qualities)]
    axes.step(*zip(*front, strict=True), where="post", color="tab:blue", linewidth=1)
    for index, name in names.items():
        point = (costs[index], qualities[index])
        axes.scatter(*point, s=40, color="tab:red", zorder=3)
        axes.annotate(name, point, (5, -11), textcoords="offset points")
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
