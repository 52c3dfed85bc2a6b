"""Draw the sweep of results/recipe.tsv: PSNR against parameters and against seconds.

python scripts/draw_front.py                            docs/images/front.png and a table

Every point is one setting away from the defaults, its PSNR, parameters per pixel and seconds
averaged over the five images. A setting is on a front when no other has more PSNR for less.
"""

import statistics
from collections import defaultdict
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rows import ROOT, read_rows

RECIPES = ("fast", "balanced", "quality", "smallest", "budget")


@dataclass(frozen=True)
class Point:
    """Means over the images of a setting in one sweep, named by its commit."""

    commit: str
    factor: str
    value: str
    psnr_db: float
    parameters: float
    seconds: float

    @property
    def name(self) -> str:
        """The override."""
        return f"{self.factor}={self.value}"


def main() -> None:
    """Print all settings and draw both fronts."""
    points = read_points()
    print("| commit | setting | PSNR (dB) | parameters per pixel | fit (s) |\n|" + "---|" * 5)
    for point in points:
        cells = f"{point.psnr_db:.2f} | {point.parameters:.3f} | {point.seconds:.2f}"
        print(f"| {point.commit} | `{point.name}` | {cells} |")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, layout="tight")
    draw(left, points, [point.parameters for point in points], "parameters per pixel")
    draw(right, points, [point.seconds for point in points], "seconds of fit")
    right.set_xscale("log")
    left.set_ylabel("PSNR (dB), mean of five images")
    figure.savefig(ROOT / "docs" / "images" / "front.png", dpi=110)


def read_points() -> list[Point]:
    """The sweep's settings in the order of the file."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in read_rows(ROOT / "results" / "recipe.tsv"):
        groups[row["commit"], row["factor"], row["value"]].append(row)
    columns = ("psnr_db", "parameters_per_pixel", "fit_time_s")
    return [
        Point(*key, *(statistics.mean(float(row[name]) for row in rows) for name in columns))
        for key, rows in groups.items()
    ]


def draw(axes: Axes, points: list[Point], costs: list[float], label: str) -> None:
    """Scatter the settings over a cost, join those on the front and name the recipes."""
    axes.scatter(costs, [point.psnr_db for point in points], s=12, color="0.6")
    best, front = -1.0, []
    for cost, point in sorted(zip(costs, points, strict=True), key=lambda pair: pair[0]):
        if point.psnr_db > best:
            best = point.psnr_db
            front.append((cost, best))
    axes.step(*zip(*front, strict=True), where="post", color="tab:blue", linewidth=1)
    for cost, point in zip(costs, points, strict=True):
        is_last = point.commit == points[-1].commit  # the recipes as they are now
        if is_last and point.factor == "experiment" and point.value in RECIPES:
            axes.scatter([cost], [point.psnr_db], s=40, color="tab:red", zorder=3)
            axes.annotate(point.value, (cost, point.psnr_db), (5, -11), textcoords="offset points")
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
