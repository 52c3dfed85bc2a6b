"""Print the tables of the README from `results/*.tsv`: medians over repeats, ratios within a run.

python scripts/tables.py
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from rows import ROOT, read_rows

COLUMNS = {
    "psnr_db": ("PSNR (dB)", "{:.2f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "n_parameters": ("parameters", "{:,.0f}"),
    "parameters_per_pixel": ("per pixel", "{:.3f}"),
    "bits_per_pixel": ("bits per pixel", "{:.2f}"),
    "fit_time_s": ("fit (s)", "{:.1f}"),
    "peak_memory_gib": ("memory (GiB)", "{:.2f}"),
}
OTHERS = {  # file: its columns, numbers with a format
    "step": {
        "backend": "",
        "memory": "",
        "threads": "",
        "step_ms": "{:.2f}",
        "page_faults_per_step": "{:.0f}",
        "faster_than_eager": "{:.1f}",
        "times_floor": "{:.1f}",
        "peak_gflops_per_core": "{:.0f}",
    },
    "builds": {"way": "", "needs": "", "first_step_s": "{:.1f}", "step_ms": "{:.2f}"},
    "scaling": {
        "megapixels": "{:.2f}",
        "n_active": "{:.0f}",
        "fit_time_s": "{:.2f}",
        "microseconds_per_block": "{:.0f}",
        "peak_memory_gib": "{:.2f}",
    },
    "precision": {
        "image": "",
        "n_blocks": "{:.0f}",
        "fused_db": "{:.3f}",
        "eager_db": "{:.3f}",
        "eager_float64_db": "{:.3f}",
    },
    "rounding": {
        "recipe": "",
        "rounded_gradients": "",
        "n_blocks": "{:.0f}",
        "float64_db": "{:.3f}",
        "rounded_db": "{:.3f}",
    },
    "memory": {
        "image": "",
        "megapixels": "{:.0f}",
        "peak_memory_gib": "{:.2f}",
        "limit_gib": "{:.0f}",
        "scratch_gib": "{:.1f}",
        "psnr_db": "{:.2f}",
        "ssim": "{:.4f}",
        "parameters_per_pixel": "{:.2f}",
        "fit_time_s": "{:.0f}",
        "wall_time_s": "{:.0f}",
    },
    "comparison": {"n_runs": "{:.0f}", "seconds": "{:.1f}", "page_mb": "{:.0f}"},
    "startup": {"what": "", "median_s": "{:.2f}"},
}
SEVERAL = ("backend", "memory", "threads", "recipe", "rounded_gradients")
"""Columns that tell rows apart where the first one does not."""

Row = dict[str, str]


def main() -> None:
    """Print every job's table, with the ratios of the pluto job, then the other files."""
    jobs: dict[str, list[Row]] = defaultdict(list)
    for row in read_rows(ROOT / "results" / "quality.tsv"):
        jobs[row["job"]].append(row)
    for job, rows in jobs.items():
        print(f"\n### {job}\n")
        print_job(rows)
    if "pluto" in jobs:
        for recipe in ("experiment=balanced", "experiment=fast"):
            ratios = time_ratios(jobs["pluto"], recipe)
            print(
                f"\nfit time of the reference recipe over that of {recipe}, run in turn:", end=" "
            )
            print(", ".join(f"{ratio:.1f}" for ratio in ratios), end="; ")
            print(f"median {statistics.median(ratios):.1f}")
    for name, columns in OTHERS.items():
        print(f"\n### {name}\n")
        print_rows(read_rows(ROOT / "results" / f"{name}.tsv"), columns)


def print_rows(rows: Sequence[Row], columns: Mapping[str, str]) -> None:
    """Print a Markdown table: rows with the same first cell become one, of medians."""
    key = next(iter(columns))
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        own = " ".join(row[name] for name in SEVERAL if name in row)
        groups[own or row[key]].append(row)
    print("| " + " | ".join(columns) + " | runs |\n|" + "---|" * (len(columns) + 1))
    for group in groups.values():
        cells = [cell([row[name] for row in group], form) for name, form in columns.items()]
        runs = sum(int(row.get("repeats", 1)) for row in group)
        print("| " + " | ".join(cells) + f" | {runs} |")


def cell(values: Sequence[str], form: str) -> str:
    """A text, or the median of numbers."""
    if not form:
        return values[0]
    return form.format(statistics.median(float(value) for value in values))


def print_job(rows: Sequence[Row]) -> None:
    """Print a Markdown table of medians, a line for each image and recipe."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["image"], row["recipe"]].append(row)
    names = ["image", "settings", *(title for title, _ in COLUMNS.values()), "runs"]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for (image, recipe), group in groups.items():
        cells = [
            form.format(statistics.median(float(row[name]) for row in group))
            for name, (_, form) in COLUMNS.items()
        ]
        shown = f"`{recipe}`" if recipe else "default"
        print(f"| {image} | " + " | ".join([shown, *cells, str(len(group))]) + " |")


def time_ratios(rows: Sequence[Row], recipe: str) -> list[float]:
    """Fit times of each repeat's reference over those of a recipe that ran in turn with it."""
    references = [row for row in rows if "backend=eager" in row["recipe"]]
    ours = [row for row in rows if row["recipe"] == recipe]
    pairs = zip(references, ours, strict=True)
    return [float(reference["fit_time_s"]) / float(own["fit_time_s"]) for reference, own in pairs]


if __name__ == "__main__":
    main()
