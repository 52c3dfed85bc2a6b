"""What a very large image would need on many devices, from measured rows: a Markdown table.

python scripts/scale_model.py [--gigapixels 100] [--ranks 64] [--speed 1]

`--speed` is how many CPU cores one process equals in fitting and rendering.
"""

import argparse
from collections.abc import Mapping, Sequence
from statistics import median

from rows import ROOT, read_rows

Rows = Sequence[Mapping[str, str]]
BLOCK_PIXELS = 16**2  # of experiment=fast, which both files measured
SENT_BYTES = 24  # of a block: its error when a level begins, its number and width at the end


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigapixels", type=float, default=100.0)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--speed", type=float, default=1.0)
    options = parser.parse_args()
    ranks, memory = (read_rows(ROOT / "results" / name) for name in ("ranks.tsv", "memory.tsv"))
    cores = options.ranks * options.speed
    print("| quantity | formula | value |\n|---|---|---|")
    for line in model(ranks, memory, options.gigapixels, cores):
        print("| " + " | ".join(line) + " |")


def model(ranks: Rows, memory: Rows, gigapixels: float, cores: float) -> list[tuple[str, str, str]]:
    """Rows of quantity, formula and value; medians of single processes, and the largest images."""

    def per_megapixel(row: Mapping[str, str], name: str) -> float:
        return float(row[name]) / float(row["megapixels"])

    alone = [row for row in ranks if (row["world_size"], row["threads"]) == ("1", "1")]
    chunk_s = median(per_megapixel(row, "chunk_time_s") for row in alone)
    level_s = median(per_megapixel(row, "fit_time_s") for row in alone) - chunk_s
    one, *_, two = sorted(memory, key=lambda row: float(row["megapixels"]))
    size = float(two["megapixels"]) / 1000
    grown = float(two["peak_memory_gib"]) - float(one["peak_memory_gib"])
    gib = grown / (size - float(one["megapixels"]) / 1000)
    base_gib = float(two["peak_memory_gib"]) - gib * size
    n_cores = int(two["hardware"].split()[0])  # that were busy with what surrounds the fit
    scored_s = n_cores * (per_megapixel(two, "wall_time_s") - per_megapixel(two, "fit_time_s"))
    stored = 4 * float(two["parameters_per_pixel"])
    scratch = per_megapixel(two, "scratch_gib") * 2**30 / 1e6
    megapixels = 1000 * gigapixels
    first, last = f"s x {megapixels:,.0f} Mpx / {cores:g} cores", f"bytes x {gigapixels:g} Gpx"
    memory_text = f"{base_gib:.2f} GiB + {gib:.2f} GiB x {gigapixels:g} Gpx"
    sent_gb = 4 / 3 * gigapixels / BLOCK_PIXELS * SENT_BYTES
    table = {
        "fitting": (f"{chunk_s:.2f} {first}", duration(chunk_s * megapixels / cores)),
        "rendering levels": (f"{level_s:.2f} {first}", duration(level_s * megapixels / cores)),
        "scoring": (f"{scored_s:.2f} {first}", duration(scored_s * megapixels / cores)),
        "memory of a process": (memory_text, f"{base_gib + gib * gigapixels:,.0f} GiB"),
        "representation": (f"{stored:.2f} {last}", f"{gigapixels * stored:,.0f} GB"),
        "scratch files": (f"{scratch:.1f} {last}", f"{gigapixels * scratch:,.0f} GB"),
        "sent to a process": (f"{SENT_BYTES} bytes a block, all levels", f"{sent_gb:.1f} GB"),
    }
    return [(name, *values) for name, values in table.items()]


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


if __name__ == "__main__":
    main()
