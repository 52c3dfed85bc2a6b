"""The best PSNR for a number of parameters: fits of a folder's images, into results/budget.tsv.

python scripts/budget.py FOLDER --size 0.844 [--size 1.1975] [--recipe "optimizer=adam"] [--seeds 3]

`--size` is in parameters a pixel. Each image is fitted by `experiment=budget`, and then by every
`--recipe`, words that change it. Means over images follow, and what a recipe changes, with a 95 %
interval; without images, those of all rows. `--crop` takes the middle of an image;
MS-SSIM needs more than 160 pixels a side, and images of more than 4 megapixels get none.
"""

import argparse
import itertools
import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median, pstdev
from typing import Any

import yaml
from rows import ROOT, append_row, provenance, read_rows

import miner
from miner.comparison.comparison import describe, estimate

Rows = Sequence[Mapping[str, str]]
RESULTS = ROOT / "results" / "budget.tsv"
SCORES = ("psnr_db", "ssim", "ms_ssim", "seam_ratio", "n_parameters", "fit_time_s")
MOST_PIXELS = 2**22


def main() -> None:
    """Fit, write a row for each fit, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="*", help="images or folders of them")
    parser.add_argument("--size", type=float, action="append", default=[])
    parser.add_argument("--recipe", action="append", default=[], help="words as of the command")
    parser.add_argument("--crop", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    folders = (sorted(path.iterdir()) if path.is_dir() else [path] for path in options.images)
    images = list(itertools.chain.from_iterable(folders))
    words = (Path(word).name if Path(word).exists() else word for word in sys.argv[1:])
    origin = provenance(shlex.join(["python", "scripts/budget.py", *words]))
    for size, path, seed in itertools.product(options.size, images, range(options.seeds)):
        for recipe in ("", *options.recipe):
            scores = fitted(path, size, seed, options.crop, recipe)
            row = {"image": path.name, "crop_px": options.crop, "size": size, "recipe": recipe}
            append_row(RESULTS, row | {"seed": seed} | scores | origin)
            print(*row.values(), *(f"{value:.5g}" for value in scores.values()), flush=True)
    print_means(read_rows(RESULTS))


def fitted(path: Path, size: float, seed: int, crop: int, recipe: str) -> dict[str, float]:
    """Scores of what a fit stored, and its time."""
    words = (word.partition("=") for word in recipe.split())
    settings: dict[str, Any] = {name: yaml.safe_load(value) for name, _, value in words}
    settings |= {"capacity.parameters_per_pixel": size, "seed": seed}
    settings |= {"image.crop_px": crop} if crop else {}
    representation = miner.fit(path, preset="budget", progress=False, **settings)
    report: dict[str, Any] = dict(representation.report or {})
    scores = report | {"ms_ssim": ms_ssim(representation, path, crop)}
    return {name: math.nan if scores[name] is None else scores[name] for name in SCORES}


def ms_ssim(representation: miner.Representation, path: Path, crop: int) -> float:
    """Wang et al. (2003), by torchmetrics, of a whole image; NaN for a large or a small one."""
    import torch
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    from miner.images.source import open_image

    source = torch.from_numpy(open_image(str(path), 2**33, crop or None).read())
    if source[0].numel() > MOST_PIXELS or min(source.shape[1:]) <= 160:  # for its five scales
        return math.nan
    rendered = torch.from_numpy(representation.render())
    pair = rendered[None].float(), source[None].float()
    return float(multiscale_structural_similarity_index_measure(*pair, data_range=1.0))


def print_means(rows: Iterable[Mapping[str, str]]) -> None:
    """Means for each command, size and recipe; the differences that a recipe makes to none."""
    groups: dict[tuple[str, ...], dict[str, list[Mapping[str, str]]]] = {}
    for row in rows:
        recipes = groups.setdefault((row["commit"], row["command"], row["size"]), {})
        recipes.setdefault(row["recipe"], []).append(row)
    for (commit, command, size), recipes in groups.items():
        print(f"\n{command} ({commit}), {size} parameters a pixel")
        for recipe, several in recipes.items():
            means = "  ".join(f"{name} {mean(column(several, name)):.5g}" for name in SCORES)
            psnr = column(several, "psnr_db")
            span = (
                f"{min(psnr):.2f} to {max(psnr):.2f} dB, standard deviation {pstdev(psnr):.2f} dB"
            )
            print(f"{recipe or 'budget'}: {len(several)} fits  {means}  {span}")
            if recipe:
                print(f"  {compared(several, recipes[''])}")


def compared(own: Rows, plain: Rows) -> str:
    """The difference of PSNR with its interval over images, and the ratio of fit times."""
    pairs = list(zip(own, plain, strict=False))  # a run that was stopped has fewer of its own
    gains = [float(one["psnr_db"]) - float(other["psnr_db"]) for one, other in pairs]
    samples = [(row["image"], row["seed"], gain) for row, gain in zip(own, gains, strict=True)]
    ratios = [float(one["fit_time_s"]) / float(other["fit_time_s"]) for one, other in pairs]
    times = f"{median(ratios):.2f} x the time ({min(ratios):.2f} to {max(ratios):.2f})"
    return f"{describe(estimate(samples), 'dB')}, {times}"


def column(rows: Rows, name: str) -> list[float]:
    """A column as numbers."""
    return [float(row[name]) for row in rows]


if __name__ == "__main__":
    main()
