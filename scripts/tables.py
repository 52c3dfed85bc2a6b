"""Print the tables of the README from `results/*.tsv`: medians over repeats, ratios within a run.

python scripts/tables.py
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence

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
Row = dict[str, str]


def main() -> None:
    """Print every job's table, with the ratios of the pluto job, then start-up times."""
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
    print("\n### start-up\n")
    for row in read_rows(ROOT / "results" / "startup.tsv"):
        print(f"| {row['what']} | {float(row['median_s']):.2f} s |")


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
    references = [row for row in rows if "kernel=eager" in row["recipe"]]
    ours = [row for row in rows if row["recipe"] == recipe]
    pairs = zip(references, ours, strict=True)
    return [float(reference["fit_time_s"]) / float(own["fit_time_s"]) for reference, own in pairs]


if __name__ == "__main__":
    main()
