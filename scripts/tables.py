"""Print the tables of the README from `results/*.tsv`: medians over repeats, ratios within a run.

python scripts/tables.py                draws docs/images/front.png, too: recipes and Pareto fronts
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median

import matplotlib.pyplot as plt
from rows import ROOT, read_rows

from miner.comparison.comparison import pareto_front, title

Row = dict[str, str]

TABLES = {  # file: its columns; those with a format are medians over the rows with equal others
    "quality": "job image recipe psnr_db:.2f ssim:.4f n_parameters:,.0f parameters_per_pixel:.3f "
    "bits_per_pixel:.2f fit_time_s:.1f peak_memory_gib:.2f",
    "step": "backend memory threads step_ms:.2f page_faults_per_step:.0f faster_than_eager:.1f "
    "times_floor:.1f peak_gflops_per_core:.0f",
    "builds": "way needs first_step_s:.1f step_ms:.2f",
    "scaling": "megapixels n_active:.0f fit_time_s:.2f microseconds_per_block:.0f "
    "peak_memory_gib:.2f",
    "precision": "image n_blocks:.0f fused_db:.3f eager_db:.3f eager_float64_db:.3f",
    "rounding": "recipe rounded_gradients n_blocks:.0f float64_db:.3f rounded_db:.3f",
    "memory": "image megapixels:.0f peak_memory_gib:.2f limit_gib:.0f scratch_gib:.1f psnr_db:.2f "
    "ssim:.4f parameters_per_pixel:.2f fit_time_s:.0f wall_time_s:.0f",
    "comparison": "n_runs seconds:.1f page_mb:.0f",
    "startup": "what median_s:.2f",
    "wall": "commit job wall_s:.1f fit_s:.1f bare_s:.1f overhead_s:.1f",
    "wall_stages": "commit job stage main_s:.2f all_threads_s:.2f",
}


def main() -> None:
    """Print every file's table, and how much faster two recipes are than the reference."""
    for name, spec in TABLES.items():
        columns = [column.partition(":")[::2] for column in spec.split()]
        rows = read_rows(ROOT / "results" / f"{name}.tsv")
        lines = []
        for group in grouped(rows, [column for column, form in columns if not form]).values():
            runs = sum(int(row.get("repeats", 1)) for row in group)
            lines.append([*(cell(group, *column) for column in columns), str(runs)])
        titles = [*(title(column) for column, _ in columns), "runs"]
        print(f"\n### {name}\n\n{markdown(titles, lines)}")
    pluto = [row for row in read_rows(ROOT / "results" / "quality.tsv") if row["job"] == "pluto"]
    times = {
        recipe: [float(row["fit_time_s"]) for row in pluto if row["recipe"].startswith(recipe)]
        for recipe in ("experiment=miner_pl_pluto", "experiment=balanced", "experiment=fast")
    }
    references = times.pop("experiment=miner_pl_pluto")
    for recipe, seconds in times.items():
        ratios = [slow / fast for slow, fast in zip(references, seconds, strict=True)]
        shown = ", ".join(f"{ratio:.1f}" for ratio in ratios)
        print(f"\nfit time of the reference recipe over that of {recipe}, run in turn: {shown};")
        print(f"median {median(ratios):.1f}")
    draw_recipes(ROOT / "docs" / "images" / "front.png")


def grouped(rows: Iterable[Row], names: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    """Rows by their values of some columns, in order of appearance."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return groups


def cell(rows: Sequence[Row], name: str, form: str) -> str:
    """The rows' common text, or the median of their numbers."""
    return format(median(float(row[name]) for row in rows), form) if form else rows[0][name]


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = "|" + "---|" * len(titles)
    shown = ["| " + " | ".join(cells) + " |" for cells in (titles, *rows)]
    return "\n".join([shown[0], rule, *shown[1:]])


def draw_recipes(path: Path) -> None:
    """Print means over the images of results/recipe.tsv, and draw them with the Pareto fronts."""
    rows = read_rows(ROOT / "results" / "recipe.tsv")
    groups = grouped(rows, ("commit", "factor", "value"))
    qualities, parameters, seconds = (
        [mean(float(row[name]) for row in group) for group in groups.values()]
        for name in ("psnr_db", "parameters_per_pixel", "fit_time_s")
    )
    lines = []
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="tight")
    for axes, costs in ((left, parameters), (right, seconds)):
        axes.scatter(costs, qualities, s=12, color="0.6")
        front = [(costs[i], qualities[i]) for i in pareto_front(costs, qualities)]
        axes.step(*zip(*front, strict=True), where="post", color="tab:blue", linewidth=1)
        axes.grid(alpha=0.3)
    for index, (commit, factor, value) in enumerate(groups):
        psnr, per_pixel, time = qualities[index], parameters[index], seconds[index]
        numbers = f"{psnr:.2f}", f"{per_pixel:.3f}", f"{time:.2f}"
        lines.append([commit, f"`{factor}={value}`", *numbers])
        if factor == "experiment" and commit == rows[-1]["commit"]:  # the latest recipes
            for axes, cost in ((left, per_pixel), (right, time)):
                axes.scatter(cost, psnr, s=40, color="tab:red", zorder=3)
                axes.annotate(value, (cost, psnr), (5, -11), textcoords="offset points")
    print(markdown(["commit", "setting", "PSNR (dB)", "parameters per pixel", "fit (s)"], lines))
    left.set(xlabel="parameters per pixel", ylabel="PSNR (dB), mean of five images")
    right.set(xlabel="seconds of fit", xscale="log")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
