"""Time a training step of 64 blocks, compiled and in plain PyTorch, against the arithmetic floor.

python scripts/bench_step.py                            rows in results/step.tsv

Blocks have 1024 pixels, one channel, width 20 and depth 2. Every measurement runs in a separate
process, the cases in turn: with PyTorch's memory allocation and with ours (startup.py), with one
thread, with two and with many more than there are cores. The floor is the number of operations over
the measured peak of as many cores.
"""

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rows import ROOT, Value, append_row, provenance

from miner.support.process import prepare

N_BLOCKS, N_PIXELS, INPUTS, WIDTH, DEPTH = 64, 1024, 16, 20, 2
SINE_COSINE = 29  # operations for a sine with its cosine: sine_cosine in vectors.h
ADAM = 12
PEAK_WIDTH = 8 * 16  # multiply-adds of a round in peak.c
CASES = [  # backend, memory, threads
    *(("eager", memory, 2) for memory in ("default", "kept")),
    *((backend, "kept", threads) for backend in ("eager", "compiled") for threads in (1, 16)),
    *(("compiled", memory, 2) for memory in ("default", "kept")),
]


def main() -> None:
    """Run all cases in turn, `--repeats` times, and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "step.tsv")
    parser.add_argument("--case", nargs=3, metavar=("BACKEND", "MEMORY", "THREADS"))
    arguments = parser.parse_args()
    if arguments.case:
        backend, memory, threads = arguments.case
        print(json.dumps(evaluate(backend, memory, int(threads))))
        return
    found: dict[tuple[str, str, int], list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(arguments.repeats):
        for case in CASES:
            found[case].append(in_a_process(case))
    for case, runs in found.items():
        write(arguments.results, case, runs, found[("eager", "kept", case[2])])


def in_a_process(case: tuple[str, str, int]) -> dict[str, float]:
    """Milliseconds and page faults of a step, and the peak of a core, in a separate process."""
    command = [sys.executable, __file__, "--case", *map(str, case)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def write(
    path: Path,
    case: tuple[str, str, int],
    runs: list[dict[str, float]],
    eager: list[dict[str, float]],
) -> None:
    """A row with the medians, and the ratio to plain PyTorch with as many threads."""
    backend, memory, threads = case
    step_ms = statistics.median(run["step_ms"] for run in runs)
    peak = statistics.median(run["peak_gflops"] for run in runs)
    cores = min(threads, len(os.sched_getaffinity(0)))
    floor_ms = 1e3 * N_BLOCKS * operations() / (cores * peak * 1e9)
    row: dict[str, Value] = {  # columns and names of results/step.tsv
        "kernel": "fused" if backend == "compiled" else backend,
        "memory": memory,
        "threads": threads,
        "step_ms": step_ms,
        "worst_ms": max(run["step_ms"] for run in runs),
        "microseconds_per_block": 1e3 * step_ms / N_BLOCKS,
        "page_faults_per_step": statistics.median(run["faults"] for run in runs),
        "faster_than_eager": statistics.median(
            rival["step_ms"] / run["step_ms"] for rival, run in zip(eager, runs, strict=True)
        ),
        "megaflop_per_block": operations() / 1e6,
        "peak_gflops_per_core": peak,
        "floor_ms": floor_ms,
        "times_floor": step_ms / floor_ms,
        "repeats": len(runs),
    }
    append_row(path, row | provenance("python scripts/bench_step.py"))
    print(
        f"{backend} {memory} {threads} threads: {step_ms:.2f} ms, {step_ms / floor_ms:.1f} floors"
    )


def operations() -> int:
    """Floating point operations of one step of one block, a multiply-add counting as two."""
    layers = INPUTS * WIDTH + (DEPTH - 1) * WIDTH * WIDTH
    gram = WIDTH * (WIDTH + 1) // 2 + WIDTH
    backward = WIDTH + (DEPTH - 1) * WIDTH * WIDTH + layers
    per_pixel = 2 * (layers + gram + WIDTH + backward) + DEPTH * WIDTH * (SINE_COSINE + 1)
    n_parameters = (INPUTS + 1) * WIDTH + (DEPTH - 1) * (WIDTH + 1) * WIDTH + DEPTH
    return N_PIXELS * per_pixel + ADAM * n_parameters + 2 * WIDTH**3 // 3


def evaluate(backend: str, memory: str, threads: int) -> dict[str, float]:
    """Time steps in this process."""
    if memory == "kept":
        prepare()
    import torch

    torch.set_num_threads(threads)
    advance = make_steps(backend)
    advance(2)
    n_steps = 40 if backend == "compiled" else 15
    faults, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    advance(n_steps)
    seconds = time.perf_counter() - began
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return {
        "step_ms": 1e3 * seconds / n_steps,
        "faults": faults / n_steps,
        "peak_gflops": peak_gflops(),
    }


def make_steps(backend: str) -> Callable[[int], None]:
    """Blocks of smooth noise, ready to be trained."""
    from functools import partial

    import torch

    from miner.fitting.backend import EagerBackend
    from miner.fitting.criteria import ConstantSchedule, LogMSELoss
    from miner.fitting.readout import ClosedFormReadout
    from miner.fitting.steps import BlockProblem, StepSettings
    from miner.kernels.backend import CompiledBackend
    from miner.models.activations import Sine
    from miner.models.encodings import CosineEncoding
    from miner.models.heads import LinearHead
    from miner.models.network import BlockMLP, BlockNetwork
    from miner.models.parameters import repeat
    from miner.signals.grid import coordinates

    mlp = BlockMLP(CosineEncoding(INPUTS // 2), Sine(), WIDTH, DEPTH)
    generator = torch.Generator().manual_seed(0)
    coarse = 0.1 * torch.randn(N_BLOCKS, 1, 8, 8, generator=generator)
    targets = torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").flatten(2)
    adam = partial(torch.optim.Adam, lr=0.02, betas=(0.9, 0.99))
    settings = StepSettings(1000, adam, ConstantSchedule(), LogMSELoss(), None, (0,))
    encoded = mlp.encoding(coordinates(32, (32, 32)))
    start = repeat(mlp.draw(generator), N_BLOCKS)
    network = BlockNetwork(mlp, LinearHead(), 1)
    problem = BlockProblem(network, ClosedFormReadout(), settings, encoded, targets, start)
    chosen = CompiledBackend() if backend == "compiled" else EagerBackend()
    return chosen.trainer(problem).advance


def peak_gflops() -> float:
    """Multiply-adds that one core does in a second, times two, in 10^9."""
    from miner.kernels.cpu.compiler import build

    functions = ctypes.CDLL(str(build(Path(__file__).with_name("peak.c"))))
    functions.multiply_add.restype = ctypes.c_float
    rounds = 5_000_000
    functions.multiply_add(ctypes.c_int64(rounds // 10))
    began = time.perf_counter()
    functions.multiply_add(ctypes.c_int64(rounds))
    return 2 * rounds * PEAK_WIDTH / (time.perf_counter() - began) / 1e9


if __name__ == "__main__":
    main()
