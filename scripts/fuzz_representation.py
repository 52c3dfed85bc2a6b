"""Load, and render in part, representations whose files were damaged; a row for each way of it.

    python scripts/fuzz_representation.py
    python scripts/fuzz_representation.py --keep FOLDER    leaves there what crashed or hung

Whatever the files hold, `miner.load` gives a representation that renders, or raises
`RepresentationError` with a line. Anything else is a crash: another error, a process that dies,
more than two GiB of memory. Loading and rendering that take longer than ten seconds hang.
"""

import argparse
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psutil
import torch
from fuzz_files import Files
from fuzz_mutations import MUTATIONS
from rows import ROOT, Value, append_row, provenance

import miner
from miner.support.errors import RepresentationError

NAME = "fuzz_representation"
SECONDS, SPARE_BYTES, BATCH, REGION_SIDE = 10, 2 * 2**30, 500, 12
KINDS = sorted(MUTATIONS)
SHORT: dict[str, Any] = {"fitting.max_steps": 2, "fitting.max_mse": 1e-9, "model.width": 3}
BY_NEED, UNIFORM = {"capacity.max_width": 6}, {"capacity": "uniform"}
INHERITED = {"pyramid": "laplacian", "weights": "parent_frame", "activation": "gabor"}
LEARNED = {"storage": "int8", "readout": "learned", "encoding": "positional"}
PLAIN = {"storage": "float16", "encoding": "none", "activation": "gaussian"}
RECIPES: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
    ((3, 20, 30), {"patch_size": 8, "fitting.blocks_per_shard": 4, **BY_NEED}),
    (
        (1, 17, 40),
        {"patch_size": 4, "fitting.blocks_per_shard": 20, **UNIFORM, **INHERITED, **LEARNED},
    ),
    ((2, 6, 9, 7), {"patch_size": 4, **BY_NEED, **PLAIN}),
    ((1, 1, 1), {"activation": "relu", **UNIFORM}),
    ((4, 9, 33), {"patch_size": 5, "pyramid.n_levels": 4, "activation": "finer", **BY_NEED}),
)


def main() -> None:
    """Run all inputs in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=14_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / f"{NAME}.tsv")
    parser.add_argument("--keep", type=Path, help="folder for the files that crash or hang")
    arguments = parser.parse_args()
    end = arguments.first + arguments.inputs
    batches = range(arguments.first, end, BATCH)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(arguments.workers) as pool:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        found = pool.map(lambda first: run_batch(first, min(first + BATCH, end), folder), batches)
        outcomes = sum(found, Counter[tuple[str, str]]())
    command = f"python scripts/{NAME}.py --inputs {arguments.inputs}"
    for row in table(outcomes):
        print(*row.values(), sep="\t")
        append_row(arguments.results, row | provenance(command))


def table(outcomes: Counter[tuple[str, str]]) -> list[dict[str, Value]]:
    """A row for each kind of mutation."""
    return [
        {
            "target": "representation",
            "mutation": kind,
            "inputs": sum(count for (name, _), count in outcomes.items() if name == kind),
            **{what: outcomes[kind, what] for what in ("loaded", "refused", "crashes", "hangs")},
        }
        for kind in KINDS
    ]


def run_batch(first: int, end: int, folder: Path) -> Counter[tuple[str, str]]:
    """Outcomes of the inputs from `first` to `end`; a process that dies is followed by another."""
    outcomes: Counter[tuple[str, str]] = Counter()
    while first < end:
        receiver, sender = get_context("spawn").Pipe(duplex=False)
        process = get_context("spawn").Process(target=work, args=(sender, first, end, folder))
        process.start()
        sender.close()
        try:
            while first < end:
                outcomes[kind_of(first), receiver.recv()] += 1
                first += 1
            process.join()
        except EOFError:
            process.join()
            what = "hangs" if process.exitcode == -signal.SIGALRM else "crashes"
            print(f"input {first} ({kind_of(first)}): {what}, exit code {process.exitcode}")
            outcomes[kind_of(first), what] += 1
            first += 1
    return outcomes


def work(sender: Connection, first: int, end: int, folder: Path) -> None:
    """Send the outcome of one input after another, within limits of memory and time."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of numbers that overflow
    corpus = make_corpus()
    for files in corpus:  # what is loaded once takes its memory here
        place = written(files, folder / f"sound-{first}")
        assert outcome(place) == "loaded"
        shutil.rmtree(place)
    limit = psutil.Process().memory_info().vms + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number in range(first, end):
        place = written(mutated(number, corpus), folder / str(number))
        signal.alarm(SECONDS)
        try:
            said = outcome(place)
        except BaseException:
            said = "crashes"
            print(f"input {number} ({kind_of(number)}):\n{traceback.format_exc()}", flush=True)
        signal.alarm(0)
        if said != "crashes":
            shutil.rmtree(place)
        sender.send(said)


def kind_of(number: int) -> str:
    """Which mutation makes an input."""
    return KINDS[number % len(KINDS)]


def mutated(number: int, corpus: Sequence[Files]) -> Files:
    """An input, made from a sound representation as its number has it."""
    random = Random(number)
    files, other = random.sample(list(corpus), 2)
    return MUTATIONS[kind_of(number)](random, files, other)


def make_corpus() -> list[Files]:
    """Files of small representations of several kinds, fitted in a moment."""
    corpus = []
    for seed, (shape, settings) in enumerate(RECIPES):
        values = np.random.default_rng(seed).random(shape, dtype=np.float32)
        shown = miner.fit(values, **SHORT, **settings)
        with tempfile.TemporaryDirectory() as folder:
            corpus.append({path.name: path.read_bytes() for path in shown.save(folder).iterdir()})
    return corpus


def written(files: Files, folder: Path) -> Path:
    """The folder, with the files in it."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def outcome(folder: Path) -> str:
    """Whether a representation was loaded and rendered in part, or refused as it should be.

    Raises whatever loading and rendering raise that they should not.
    """
    try:
        shown = miner.load(folder)
        for level, sides in enumerate(shown.spec.level_sides):
            for region in corners(sides):
                values = shown.render(level, region)
                shape = tuple(end - first for first, end in region)
                assert values.shape == (shown.spec.n_channels, *shape)
    except RepresentationError as error:
        assert len(str(error).splitlines()) == 1, f"more than a line: {error}"
        return "refused"
    return "loaded"


def corners(sides: Sequence[int]) -> list[tuple[tuple[int, int], ...]]:
    """The first and the last region of a few pixels."""
    first = tuple((0, min(side, REGION_SIDE)) for side in sides)
    last = tuple((max(0, side - REGION_SIDE), side) for side in sides)
    return [first, last]


if __name__ == "__main__":
    main()
