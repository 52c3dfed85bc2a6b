"""Compare ways to build the training step: speed, and what the first call costs.

pip install -e '.[trials]' && python scripts/bench_builds.py    rows in results/builds.tsv

64 blocks as in bench_step.py, in turn, each in a process of its own with an empty cache:
block_step.c by the compiler of the package ziglang and by the system's, the step written in Numba,
the step in plain PyTorch under torch.compile (both in scripts/trials), and plain PyTorch itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench_step import make_steps
from rows import ROOT, Value, append_row, provenance

from miner.startup import prepare

TRIALS = Path(__file__).with_name("trials")
WAYS = {  # name: what it needs besides PyTorch
    "C, ziglang": "the package ziglang",
    "C, system": "a C compiler",
    "Numba": "the package numba",
    "torch.compile": "a C++ compiler",
    "PyTorch": "nothing",
}


def main() -> None:
    """Measure every way `--repeats` times and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "builds.tsv")
    parser.add_argument("--way", choices=WAYS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments.way)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(arguments.repeats):
        for way in WAYS:
            found[way].append(in_a_process(way))
    for way, runs in found.items():
        row: dict[str, Value] = {"way": way, "needs": WAYS[way]}
        for name in runs[0]:
            row[name] = statistics.median(run[name] for run in runs)
        append_row(
            arguments.results,
            row | {"repeats": len(runs)} | provenance("python scripts/bench_builds.py"),
        )
        print(row)


def in_a_process(way: str) -> dict[str, float]:
    """Measure with caches that are empty."""
    command = [sys.executable, __file__, "--way", way]
    with tempfile.TemporaryDirectory() as cache:
        caches = {"XDG_CACHE_HOME": cache, "TORCHINDUCTOR_CACHE_DIR": cache}
        done = subprocess.run(
            command, env=os.environ | caches, capture_output=True, text=True, check=True
        )
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(way: str) -> dict[str, float]:
    """Seconds of the first step and milliseconds of a later one, in this process."""
    prepare()
    import torch

    torch.set_num_threads(2)
    advance = build(way)
    began = time.perf_counter()
    advance(1)
    first = time.perf_counter() - began
    advance(2)
    n_steps = 40
    began = time.perf_counter()
    advance(n_steps)
    seconds = time.perf_counter() - began
    return {"first_step_s": first, "step_ms": 1e3 * seconds / n_steps}


def build(way: str) -> Callable[[int], None]:
    """A function that takes steps."""
    sys.path.insert(0, str(TRIALS))
    if way == "Numba":
        import numba_step

        return numba_step.build()
    if way == "torch.compile":
        import compiled_step

        return compiled_step.build()
    if way == "C, system":
        from miner.kernels.cpu import compiler

        compiler.compilers = lambda: ((("cc",), ""),)  # type: ignore[assignment]
    return make_steps("eager" if way == "PyTorch" else "fused")


if __name__ == "__main__":
    main()
