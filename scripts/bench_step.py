"""Time a training step of 64 blocks against the arithmetic floor: rows in results/step.tsv.

python scripts/bench_step.py [--repeats 5]

Blocks have 1024 pixels, one channel, width 20 and depth 2. Every measurement runs in a separate
process: compiled and in plain PyTorch, with PyTorch's memory allocation and with MINER's, with
several numbers of threads. The floor is the number of operations over the measured peak.
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from miner.support.process import prepare

if "kept" in sys.argv:
    prepare()  # before torch is imported

import torch
from gpu import steps
from gpu.blocks import Case, problem_of, settings_of
from rows import ROOT, Value, append_row, provenance

from miner.fitting.backend import EagerBackend
from miner.kernels.backend import CompiledBackend
from miner.kernels.cpu.trainer import build

N_BLOCKS, N_PIXELS, WIDTH, DEPTH = 64, 1024, 20, 2
SINE_COSINE, ADAM = 29, 12  # operations; sine_cosine in vectors.h gives a sine with its cosine
PEAK_WIDTH = 8 * 16  # multiply-adds of a round in peak.c
CASES = [  # backend, memory, threads
    *(("eager", memory, 2) for memory in ("default", "kept")),
    *((backend, "kept", threads) for backend in ("eager", "compiled") for threads in (1, 16)),
    *(("compiled", memory, 2) for memory in ("default", "kept")),
]


def main() -> None:
    """Time all cases in turn, `--repeats` times, each in a separate process; a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "step.tsv")
    parser.add_argument("--case", nargs=3, metavar=("BACKEND", "MEMORY", "THREADS"))
    options = parser.parse_args()
    if options.case:
        print(json.dumps(evaluate(options.case[0], int(options.case[2]))))
        return
    found: dict[tuple[str, str, int], list[dict[str, float]]] = {case: [] for case in CASES}
    for case in options.repeats * CASES:
        command = [sys.executable, __file__, "--case", *map(str, case)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[case].append(json.loads(done.stdout))
    for (backend, memory, threads), runs in found.items():
        name = "fused" if backend == "compiled" else backend  # as in earlier rows
        shape: dict[str, Value] = {"backend": name, "memory": memory, "threads": threads}
        numbers = summary(threads, runs, found["eager", "kept", threads])
        append_row(options.results, shape | numbers | provenance("python scripts/bench_step.py"))
        print(backend, memory, threads, f"threads: {numbers['step_ms']:.2f} ms")


def summary(
    threads: int, runs: Sequence[dict[str, float]], eager: Sequence[dict[str, float]]
) -> dict[str, Value]:
    """Medians, and the ratio to plain PyTorch with as many threads."""
    step_ms = median(run["step_ms"] for run in runs)
    n_operations = runs[0]["n_operations"]
    peak = median(run["peak_gflops"] for run in runs)
    cores = min(threads, len(os.sched_getaffinity(0)))
    floor_ms = 1e3 * N_BLOCKS * n_operations / (cores * peak * 1e9)
    ratios = [rival["step_ms"] / run["step_ms"] for rival, run in zip(eager, runs, strict=True)]
    return {
        "step_ms": step_ms,
        "worst_ms": max(run["step_ms"] for run in runs),
        "microseconds_per_block": 1e3 * step_ms / N_BLOCKS,
        "page_faults_per_step": median(run["faults"] for run in runs),
        "faster_than_eager": median(ratios),
        "megaflop_per_block": n_operations / 1e6,
        "peak_gflops_per_core": peak,
        "floor_ms": floor_ms,
        "times_floor": step_ms / floor_ms,
        "repeats": len(runs),
    }


def evaluate(backend: str, threads: int) -> dict[str, float]:
    """Time steps on blocks of smooth noise in this process."""
    torch.set_num_threads(threads)
    coarse = 0.1 * torch.randn(N_BLOCKS, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").flatten(2)
    problem = problem_of(Case("default", WIDTH, depth=DEPTH), targets, settings_of(1000))
    trainer = (CompiledBackend() if backend == "compiled" else EagerBackend()).trainer(problem)
    trainer.advance(2)
    n_steps = 40 if backend == "compiled" else 15
    faults, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    trainer.advance(n_steps)
    seconds = time.perf_counter() - began
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    n_parameters = sum(tensor[0].numel() for tensor in problem.start.values())
    sines = N_PIXELS * DEPTH * WIDTH * (SINE_COSINE + 1)
    extra = sines + ADAM * n_parameters + 2 * WIDTH**3 // 3
    return {
        "step_ms": 1e3 * seconds / n_steps,
        "faults": faults / n_steps,
        "peak_gflops": peak_gflops(),
        "n_operations": steps.operations(problem) + extra,  # of a block
    }


def peak_gflops() -> float:
    """Multiply-adds that one core does in a second, times two, in 10^9."""
    functions = ctypes.CDLL(str(build(Path(__file__).with_name("peak.c"))))
    functions.multiply_add.restype = ctypes.c_float
    rounds = 5_000_000
    functions.multiply_add(ctypes.c_int64(rounds // 10))
    began = time.perf_counter()
    functions.multiply_add(ctypes.c_int64(rounds))
    return 2 * rounds * PEAK_WIDTH / (time.perf_counter() - began) / 1e9


if __name__ == "__main__":
    main()
