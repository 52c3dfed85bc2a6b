"""What a very large image would take on many devices, from measured rows: a Markdown table.

python scripts/scale_model.py [--gigapixels 100] [--ranks 64] [--per-machine 8] [--speed 1]

`--speed` is how many CPU cores one process is worth in fitting and rendering: 1 where each has a
core; for a GPU, a row of a GPU's microseconds per block over that of a core has to be measured.
"""

import argparse
from collections.abc import Mapping, Sequence
from statistics import median

from rows import ROOT, read_rows

Rows = Sequence[Mapping[str, str]]
PATCH_SIDE = 16  # of experiment=fast, with which both files were measured
BLOCKS_PER_SHARD = 2048
ERROR_BYTES = 8  # of a block, which all processes receive when a level begins
HEADER_BYTES = 16  # of an active block, when it ends: its number and its width
FLOAT_BYTES = 4
LEVELS = 4 / 3  # pixels of all levels over those of the finest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigapixels", type=float, default=100.0)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--per-machine", type=int, default=8)
    parser.add_argument("--speed", type=float, default=1.0)
    options = parser.parse_args()
    results = ROOT / "results"
    settings = options.gigapixels, options.ranks, options.per_machine, options.speed
    print("| quantity | formula | value |\n|---|---|---|")
    for line in model(
        read_rows(results / "ranks.tsv"), read_rows(results / "memory.tsv"), *settings
    ):
        print("| " + " | ".join(line) + " |")


def per_megapixel(row: Mapping[str, str], name: str) -> float:
    """A value of a row over the image's size."""
    return float(row[name]) / float(row["megapixels"])


def model(
    ranks: Rows, memory: Rows, gigapixels: float, n_ranks: int, per_machine: int, speed: float
) -> list[tuple[str, str, str]]:
    """Rows of quantity, formula and value.

    Medians over the runs of one process with one thread, and the two largest images.
    """
    alone = [row for row in ranks if (row["world_size"], row["threads"]) == ("1", "1")]
    chunk_s = median(per_megapixel(row, "chunk_time_s") for row in alone)
    level_s = median(per_megapixel(row, "fit_time_s") for row in alone) - chunk_s
    one, two = sorted(memory, key=lambda row: float(row["megapixels"]))[-2:]
    grown = float(two["peak_memory_gib"]) - float(one["peak_memory_gib"])
    gib = 1000 * grown / (float(two["megapixels"]) - float(one["megapixels"]))  # a gigapixel
    base_gib = float(two["peak_memory_gib"]) - gib * float(two["megapixels"]) / 1000
    first_rank_s = per_megapixel(two, "wall_time_s") - per_megapixel(two, "fit_time_s")
    scratch_bytes = per_megapixel(two, "scratch_gib") * 2**30 / 1e6  # a pixel
    density = float(two["parameters_per_pixel"])

    megapixels = 1000 * gigapixels
    shared = f"s x {megapixels:,.0f} Mpx / ({n_ranks} x {speed:g})"
    share = megapixels / (n_ranks * speed)
    last_s = chunk_s * PATCH_SIDE**2 * BLOCKS_PER_SHARD / 1e6 / speed
    rank_gib = base_gib + gib * gigapixels
    blocks = 1e9 * gigapixels / PATCH_SIDE**2
    sent_gb = 1e-9 * blocks * (ERROR_BYTES + HEADER_BYTES)
    return [
        ("fitting the chunks", f"{chunk_s:.2f} {shared}", duration(chunk_s * share)),
        ("scoring and rendering levels", f"{level_s:.2f} {shared}", duration(level_s * share)),
        ("waiting for the last chunk", f"at most {last_s:.2f} s a level", duration(8 * last_s)),
        (
            "reading, scoring, pictures: one process",
            f"{first_rank_s:.2f} s x {megapixels:,.0f} Mpx",
            duration(megapixels * first_rank_s),
        ),
        (
            "memory of a process",
            f"{base_gib:.2f} GiB + {gib:.2f} GiB per gigapixel",
            f"{rank_gib:,.0f} GiB, {per_machine * rank_gib:,.0f} a machine",
        ),
        (
            "representation",
            f"{density:.2f} parameters per pixel x {FLOAT_BYTES} bytes",
            f"{gigapixels * density * FLOAT_BYTES:,.0f} GB",
        ),
        (
            "scratch files",
            f"{scratch_bytes:.1f} bytes per pixel",
            f"{gigapixels * scratch_bytes:,.0f} GB",
        ),
        (
            "sent to every process, finest level",
            f"{blocks:,.0f} blocks x ({ERROR_BYTES} + {HEADER_BYTES}) bytes",
            f"{sent_gb:.1f} GB",
        ),
        ("the same, all levels", f"x {LEVELS:.2f}", f"{LEVELS * sent_gb:.1f} GB"),
    ]


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
