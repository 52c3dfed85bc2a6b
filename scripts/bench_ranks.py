"""Time one image on 1, 2 and 4 processes with a thread each; rows in results/ranks.tsv.

python scripts/bench_ranks.py IMAGE [--repeats 3]

One process with two threads shows what a second core is worth without a second process. All take
turns. `chunk_time_s` sums the seconds in which chunks were fitted,
which is what any number of ranks has to do in all; `same_bits` says whether all shards hold the
tensors of the first run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rows import ROOT, Value, append_row, provenance
from safetensors import safe_open

CASES = ((1, 1), (1, 2), (2, 1), (4, 1))  # processes, threads of each
OVERRIDES = ("experiment=fast", "logger=none")


def main() -> None:
    """Fit with each number of ranks `--repeats` times, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "ranks.tsv")
    arguments = parser.parse_args()
    expected: dict[str, str] = {}
    for _ in range(arguments.repeats):
        for case in CASES:
            with tempfile.TemporaryDirectory() as scratch:
                run = Path(scratch) / "run"
                row = measure(arguments.image, *case, run, expected)
            append_row(arguments.results, row)
            print(*(f"{name}={value}" for name, value in row.items()), sep="  ")


def measure(
    image: Path, world_size: int, n_threads: int, run: Path, expected: dict[str, str]
) -> dict[str, Value]:
    """Fit in processes of their own and give the row."""
    ranks = ["trainer=cpu"]
    if world_size > 1:
        ranks = ["trainer=ddp", "trainer.accelerator=cpu", f"trainer.devices={world_size}"]
    settings = ["-m", "miner.run", *OVERRIDES, *ranks]
    origin = provenance(
        " ".join([f"OMP_NUM_THREADS={n_threads} python", *settings, f"image.path={image.name}"])
    )
    places = [f"image.path={image}", f"hydra.run.dir={run}"]
    threads = os.environ | {"OMP_NUM_THREADS": str(n_threads)}
    subprocess.run([sys.executable, *settings, *places], check=True, env=threads)
    report = json.loads((run / "report.json").read_text())
    found, seconds = read_shards(run / "representation")
    expected.update(found if not expected else {})
    row: dict[str, Value] = {
        "image": image.name,
        "megapixels": report["width_px"] * report["height_px"] / 1e6,
        "world_size": report["world_size"],
        "threads": n_threads,
        "n_chunks": len(found),
        "chunk_time_s": seconds,
        "fit_time_s": report["fit_time_s"],
        "wall_time_s": report["wall_time_s"],
        "psnr_db": report["psnr_db"],
        "same_bits": str(found == expected),
    }
    return row | origin


def read_shards(folder: Path) -> tuple[dict[str, str], float]:
    """Digests of the shards' tensors by file, and the seconds that fitting them took in all."""
    digests, seconds = {}, 0.0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        digests[path.name] = metadata["tensors_sha256"]
        seconds += json.loads(metadata["stats"])["seconds"]
    return digests, seconds


if __name__ == "__main__":
    main()
