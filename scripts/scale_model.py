"""What a very large image would take on many devices, from measured rows: a Markdown table.

python scripts/model_scale.py [--gigapixels 100] [--ranks 64] [--per-machine 8] [--speed 1]

`--speed` is how many CPU cores one rank is worth in fitting and rendering: 1 where a rank is a
core; for a GPU, a row of a GPU's microseconds per block over that of a core has to be measured.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rows import ROOT, read_rows

PATCH_SIDE = 16  # of experiment=fast, with which both files were measured
ERROR_BYTES = 8  # of a block, which all ranks are told of when a level begins
HEAD_BYTES = 16  # of an active block, when it ends: its number and its width
NUMBER_BYTES = 4
LEVELS = 4 / 3  # pixels of all levels over those of the finest


@dataclass(frozen=True)
class Measured:
    """What rows say: seconds are of one core and a megapixel, `alone_s` of two cores."""

    chunk_s: float
    shared_s: float
    alone_s: float
    rank_gib: float
    rank_gib_per_megapixel: float
    scratch_bytes_per_pixel: float
    parameters_per_pixel: float
    active_blocks_per_chunk: int = 2048


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigapixels", type=float, default=100.0)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--per-machine", type=int, default=8)
    parser.add_argument("--speed", type=float, default=1.0)
    arguments = parser.parse_args()
    measured = read_measured(
        read_rows(ROOT / "results" / "ranks.tsv"), read_rows(ROOT / "results" / "memory.tsv")
    )
    settings = arguments.gigapixels, arguments.ranks, arguments.per_machine, arguments.speed
    print("| quantity | formula | value |\n|---|---|---|")
    for line in model(measured, *settings):
        print("| " + " | ".join(line) + " |")


def read_measured(
    ranks: Sequence[Mapping[str, str]], memory: Sequence[Mapping[str, str]]
) -> Measured:
    """Medians over the runs of one process with one thread, and the two largest images."""
    alone = [row for row in ranks if (row["world_size"], row["threads"]) == ("1", "1")]
    chunk_s = median(float(r["chunk_time_s"]) / float(r["megapixels"]) for r in alone)
    fit_s = median(float(r["fit_time_s"]) / float(r["megapixels"]) for r in alone)
    one, two = sorted(memory, key=lambda row: float(row["megapixels"]))[-2:]
    larger, size = float(two["megapixels"]), float(two["peak_memory_gib"])
    slope = (size - float(one["peak_memory_gib"])) / (larger - float(one["megapixels"]))
    return Measured(
        chunk_s=chunk_s,
        shared_s=fit_s - chunk_s,
        alone_s=(float(two["wall_time_s"]) - float(two["fit_time_s"])) / larger,
        rank_gib=size - slope * larger,
        rank_gib_per_megapixel=slope,
        scratch_bytes_per_pixel=float(two["scratch_gib"]) * 2**30 / (1e6 * larger),
        parameters_per_pixel=float(two["parameters_per_pixel"]),
    )


def model(
    m: Measured, gigapixels: float, world_size: int, per_machine: int, speed: float
) -> list[tuple[str, str, str]]:
    """Rows of quantity, formula and value."""
    megapixels = 1000 * gigapixels
    fit_s = megapixels * m.chunk_s / (world_size * speed)
    shared_s = megapixels * m.shared_s / (world_size * speed)
    chunk_s = m.chunk_s * PATCH_SIDE**2 * m.active_blocks_per_chunk / 1e6 / speed
    blocks = 1e6 * megapixels / PATCH_SIDE**2
    rank_gib = m.rank_gib + m.rank_gib_per_megapixel * megapixels
    stored_gb = 1e-3 * megapixels * m.parameters_per_pixel * NUMBER_BYTES
    told_gb = 1e-9 * blocks * (ERROR_BYTES + HEAD_BYTES)
    scratch_gb = 1e-3 * megapixels * m.scratch_bytes_per_pixel
    chunks = f"{m.chunk_s:.2f} s x {megapixels:,.0f} Mpx / ({world_size} x {speed:g})"
    shared = f"{m.shared_s:.2f} s x {megapixels:,.0f} Mpx / ({world_size} x {speed:g})"
    exchange = f"{blocks:,.0f} blocks x ({ERROR_BYTES} + {HEAD_BYTES}) bytes"
    stored = f"{m.parameters_per_pixel:.2f} parameters per pixel x {NUMBER_BYTES} bytes"
    return [
        ("fitting the chunks", chunks, hours(fit_s)),
        ("scoring and rendering levels", shared, hours(shared_s)),
        ("waiting for the last chunk", f"at most {chunk_s:.2f} s a level", hours(8 * chunk_s)),
        (
            "reading, scoring, pictures: one process",
            f"{m.alone_s:.2f} s x {megapixels:,.0f} Mpx",
            hours(megapixels * m.alone_s),
        ),
        (
            "memory of a rank",
            f"{m.rank_gib:.2f} GiB + {1000 * m.rank_gib_per_megapixel:.2f} GiB per gigapixel",
            f"{rank_gib:,.0f} GiB, {per_machine * rank_gib:,.0f} a machine",
        ),
        ("representation", stored, f"{stored_gb:,.0f} GB"),
        (
            "scratch files",
            f"{m.scratch_bytes_per_pixel:.1f} bytes per pixel",
            f"{scratch_gb:,.0f} GB",
        ),
        ("told to every rank, finest level", exchange, f"{told_gb:.1f} GB"),
        ("the same, all levels", f"x {LEVELS:.2f}", f"{LEVELS * told_gb:.1f} GB"),
    ]


def hours(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
