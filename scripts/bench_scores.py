"""Time how long images take to score, and SSIM against torchmetrics; rows in results/scores.tsv.

python scripts/bench_scores.py IMAGE...

Each image is compared with itself and a little noise, from memory, so that neither reading nor
rendering counts. Both ways of computing SSIM run in turn; torchmetrics computes in float32, in
tiles of the size that served it best, and its SSIM of flat areas is off by that.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rows import ROOT, Value, append_row, provenance
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from miner.images import open_image
from miner.metrics.ssim import WINDOW, ssim_sum
from miner.metrics.tile_metrics import OVERLAP, TileMetrics, extended
from miner.signals.regions import slices, tiles

TORCHMETRICS_SIDE = 182
"""Tiles of 192 pixels with their overlap."""

PATCH_SIZE = 32
Way = Callable[[Tensor, Tensor], float]


def main() -> None:
    """Time each way on each image, `--repeats` times in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "scores.tsv")
    arguments = parser.parse_args()
    for path in arguments.images:
        source = torch.from_numpy(open_image(str(path), 2**33).pixels)
        generator = torch.Generator().manual_seed(0)
        other = (source + 0.02 * torch.randn(source.shape, generator=generator)).clamp_(0, 1)
        for row in rows(source, other, arguments.repeats):
            described: dict[str, Value] = {"image": path.name, **row}
            append_row(
                arguments.results,
                described | provenance(f"python scripts/bench_scores.py {path.name}"),
            )
            print(*described.values(), sep="\t")


def rows(source: Tensor, other: Tensor, repeats: int) -> Iterator[dict[str, Value]]:
    """One row for each way: its least time, and how many times faster than torchmetrics it is."""
    ways: dict[str, Way] = {
        "SSIM by torchmetrics": ssim_by_torchmetrics,
        "SSIM by OpenCV": ssim_by_opencv,
        "PSNR, SSIM and seams": all_scores,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    values: dict[str, float] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            values[name] = way(source, other)
            seconds[name].append(time.perf_counter() - began)
    for name in ways:
        yield {
            "megapixels": source[0].numel() / 1e6,
            "channels": len(source),
            "what": name,
            "ssim": f"{values[name]:.9f}",
            "seconds": min(seconds[name]),
            "times_faster": min(seconds["SSIM by torchmetrics"]) / min(seconds[name]),
            "repeats": repeats,
        }


def ssim_by_torchmetrics(source: Tensor, other: Tensor) -> float:
    """The mean over full windows, which torchmetrics pads by reflection."""
    edge = WINDOW // 2

    def tile_sum(one: Tensor, two: Tensor) -> float:
        _, similarity = structural_similarity_index_measure(
            two.unsqueeze(0), one.unsqueeze(0), sigma=1.5, data_range=1.0, return_full_image=True
        )
        return float(similarity[..., edge:-edge, edge:-edge].sum(dtype=torch.float64))

    return _mean(source, other, TORCHMETRICS_SIDE, tile_sum)


def ssim_by_opencv(source: Tensor, other: Tensor) -> float:
    """The mean over full windows, as runs report it."""
    return _mean(source, other, 1024, lambda one, two: ssim_sum(one.numpy(), two.numpy()))


def all_scores(source: Tensor, other: Tensor) -> float:
    """SSIM, computed along with the other scores."""
    sides = tuple(source.shape[1:])
    tally = TileMetrics(sides, len(source), PATCH_SIZE)
    for tile in tiles(sides):
        around = (slice(None), *slices(extended(tile, sides)))
        tally.add(tile, source[around], other[around])
    return tally.ssim or 0.0


def _mean(source: Tensor, other: Tensor, tile_side: int, tile_sum: Way) -> float:
    channels, height, width = source.shape
    total = 0.0
    for tile in tiles((height - OVERLAP, width - OVERLAP), tile_side):
        around = (slice(None), *(slice(first, end + OVERLAP) for first, end in tile))
        total += tile_sum(source[around], other[around])
    return total / (channels * (height - OVERLAP) * (width - OVERLAP))


if __name__ == "__main__":
    main()
