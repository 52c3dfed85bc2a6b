"""Draw and tabulate what the ablations found: results/ablations/*.tsv into docs/findings.md.

python scripts/findings.py                              all tables and figures
python scripts/findings.py --only pyramid

A table goes where the document says `<!-- table NAME -->`, in place of what stands before
`<!-- end -->`; a figure is docs/images/findings_NAME.png.

Differences are paired (same image, same seed, all else equal), averaged over seeds and the other
settings within an image; the interval is Student's, 95 %, over images. At equal parameters they are
read off the curves that the three widths draw.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
from rows import ROOT, read_rows

from miner.comparison.comparison import Comparison
from miner.comparison.differences import Difference, differences_at_equal_cost, paired_differences
from miner.comparison.runs import Result
from miner.comparison.statistics import describe

NUMBERS = (
    "psnr_db", "ssim", "n_parameters", "bits_per_pixel", "fit_time_s",
    "psnr_db_after_50", "psnr_db_after_150",
)  # fmt: skip
ORIGIN = ("date", "commit", "hardware", "command")
WIDTH = "model.width"
FINDINGS = ROOT / "docs" / "findings.md"


@dataclass(frozen=True)
class Claim:
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


@dataclass(frozen=True)
class Line:
    """One value against the baseline in one condition."""

    value: str
    condition: str
    same_settings: Difference
    early: Difference
    same_size: Difference | None
    seconds: Difference


def main() -> None:
    """Write and draw the claims that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(CLAIMS), action="append", help="default: all")
    for name in parser.parse_args().only or CLAIMS:
        claim = CLAIMS[name]
        path = ROOT / "results" / "ablations" / f"{claim.table}.tsv"
        if not path.exists():
            print(f"\n### {name}: {path.name} has not been measured")
            continue
        lines = compare(claim, read_comparison(path))
        write_table(name, claim, lines)
        draw(claim, lines, ROOT / "docs" / "images" / f"findings_{name}.png")
        if name == "bound":
            write_images(claim, read_comparison(path))


def read_comparison(path: Path) -> Comparison:
    """The jobs of a table; what is neither a number nor an origin is a setting."""
    results = []
    for index, row in enumerate(read_rows(path)):
        chosen = {key: value for key, value in row.items() if key not in NUMBERS + ORIGIN}
        numbers = {key: float(row[key]) for key in NUMBERS if row[key]}
        report = {"image": row["image"], "seed": int(row["seed"]), **numbers}
        results.append(Result(Path(str(index)), "finished", overrides=chosen, report=report))
    return Comparison(results)


def compare(claim: Claim, comparison: Comparison) -> list[Line]:
    """Every value of the factor in every condition."""
    lines = []
    conditions = [comparison.values(name) for name in claim.conditions]
    others = [v for v in comparison.values(claim.factor) if v != claim.baseline]
    for value, chosen in product(others, product(*conditions)):
        wanted = dict(zip(claim.conditions, chosen, strict=True))
        pair = subset(comparison, claim, value, wanted)
        by_metric = [
            paired_differences(pair, claim.factor, metric)[0]
            for metric in ("psnr_db", "psnr_db_after_50", "fit_time_s")
        ]
        same_size = differences_at_equal_cost(pair, claim.factor, WIDTH, "n_parameters")
        same, early, seconds = by_metric
        label = ", ".join(chosen)
        lines.append(Line(value, label, same, early, same_size[0] if same_size else None, seconds))
    return lines


def subset(
    comparison: Comparison, claim: Claim, value: str, wanted: Mapping[str, str]
) -> Comparison:
    """The jobs of a condition with the value or the baseline, the baseline's first."""
    kept = [
        result
        for result in comparison.results
        if all(comparison.value(result, name) == choice for name, choice in wanted.items())
        and comparison.value(result, claim.factor) in (claim.baseline, value)
    ]
    return Comparison(
        sorted(kept, key=lambda result: comparison.value(result, claim.factor) != claim.baseline)
    )


def write_table(name: str, claim: Claim, lines: Sequence[Line]) -> None:
    """Put a Markdown table of differences into the document."""
    head = ["minus " + claim.baseline, ", ".join(claim.conditions), "PSNR", "at equal parameters"]
    rows = [" | ".join(["", *head, "after 50 steps", "fit time", ""]).strip(), "|" + "---|" * 6]
    for line in lines:
        cells = [line.same_settings, line.same_size, line.early]
        shown = [amount(line, cell, "dB") for cell in cells] + [amount(line, line.seconds, "s")]
        rows.append(f"| `{line.value}` | {line.condition} | " + " | ".join(shown) + " |")
    counts = {str(line.same_settings).partition("(")[2].rstrip(")") for line in lines}
    put(name, "\n".join([f"Over {', '.join(sorted(counts))}:", "", *rows]))


def write_images(claim: Claim, comparison: Comparison) -> None:
    """What the lower bound is worth on each image, under RAdam and the closed form."""
    wanted = {"readout": "closed_form", "optimizer": "radam_miner_pl", "pruning": "absolute_mse"}
    pair = subset(comparison, claim, "2e-07", wanted)
    rows = ["| image | PSNR at 2e-7 minus that at 1e-4 |", "|---|---|"]
    for image in pair.images:
        own = Comparison([result for result in pair.results if result.image == image])
        (difference,) = (
            each for each in paired_differences(own, claim.factor, "psnr_db") if not each.setting
        )
        sign = -1 if difference.baseline == "2e-07" else 1
        rows.append(f"| `{image}` | {sign * difference.estimate.mean:+.1f} dB |")
    put("bound_by_image", "\n".join(rows))


def put(name: str, table: str) -> None:
    """Replace what the document has between a table's marks."""
    text = FINDINGS.read_text()
    before, mark, rest = text.partition(f"<!-- table {name} -->\n")
    if not mark:
        raise SystemExit(f"{FINDINGS}: has no line '<!-- table {name} -->'")
    after = rest[rest.index("<!-- end -->") :]
    FINDINGS.write_text(f"{before}{mark}{table}\n{after}")


def amount(line: Line, difference: Difference | None, unit: str) -> str:
    """`+2.60 ± 0.40 dB`, whichever of the two values was subtracted.

    Where there are fewer images or seeds than at equal settings, it says how many.
    """
    if difference is None:
        return "no overlap"
    sign = 1 if difference.value == line.value else -1
    found, full = difference.estimate, line.same_settings.estimate
    spread = "" if found.half_width is None else f" ± {found.half_width:.2f}"
    fewer = (found.n_images, found.n_seeds) != (full.n_images, full.n_seeds)
    counts = f" ({describe(found).partition('(')[2]}" if fewer else ""
    return f"{sign * found.mean:+.2f}{spread} {unit}{counts}"


def draw(claim: Claim, lines: Sequence[Line], path: Path) -> None:
    """Draw every difference of PSNR with its interval, at equal settings and equal parameters."""
    figure, axes = plt.subplots(figsize=(8, 1.3 + 0.32 * len(lines)), layout="constrained")
    for offset, kind in ((0.14, "same_settings"), (-0.14, "same_size")):
        found = [(i, line, getattr(line, kind)) for i, line in enumerate(reversed(lines))]
        shown = [(i, line, difference) for i, line, difference in found if difference is not None]
        signs = [1 if d.value == line.value else -1 for _, line, d in shown]
        axes.errorbar(
            [s * d.estimate.mean for s, (_, _, d) in zip(signs, shown, strict=True)],
            [i + offset for i, _, _ in shown],
            xerr=[d.estimate.half_width for _, _, d in shown],
            fmt="o" if kind == "same_settings" else "s",
            markersize=4,
            capsize=2,
            label="equal settings" if kind == "same_settings" else "equal parameters",
        )
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(
        range(len(lines)), [f"{line.value}: {line.condition}" for line in reversed(lines)]
    )
    note = f"PSNR minus that of {claim.factor}={claim.baseline} (dB), 95 % intervals over images"
    figure.supxlabel(note, fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
