"""Open damaged images of every kind: each must give an image or an ImageError, nothing else.

python scripts/fuzz_images.py [--inputs 20000]           rows in results/fuzz.tsv
"""

import argparse
import collections
import multiprocessing
import os
import queue
import resource
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import numpy as np
from image_corpus import Files, sound_images
from rows import ROOT, Value, append_row, provenance

from miner.images import open_image
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError

MAX_PIXELS = 2**20
TIME_LIMIT_S = 30.0
MEMORY_LIMIT = 2**32  # address space of a worker: what takes more dies, and is counted


def damaged(number: int, sound: dict[str, list[Files]]) -> tuple[str, Files]:
    """The kind and the content of an input; the same for the same number."""
    rng = np.random.default_rng(number)
    kind = list(sound)[number % len(sound)]
    files = dict(sound[kind][rng.integers(len(sound[kind]))])
    name = list(files)[rng.integers(len(files))]
    others = [content for all_ in sound.values() for one in all_ for content in one.values()]
    content = files[name]
    for _ in range(rng.integers(1, 4)):
        content = _mutated(content, others[rng.integers(len(others))], rng)
    if kind == "png" and rng.random() < 0.7:
        content = _with_right_checksums(content)
    return kind, files | {name: content}


def _mutated(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    head = max(1, min(len(content), 400 if rng.random() < 0.6 else len(content)))
    at, length = int(rng.integers(head)), int(rng.integers(1, 33))
    match int(rng.integers(8)):
        case 0:  # bytes flipped
            changed = bytearray(content)
            for place in rng.integers(head, size=rng.integers(1, 9)) if content else ():
                changed[place] ^= int(rng.integers(1, 256))
            return bytes(changed)
        case 1:
            return content[: int(rng.integers(len(content) + 1))]
        case 2:
            return content[:at] + rng.bytes(length) + content[at:]
        case 3:
            return content[:at] + content[at + length :]
        case 4:  # a block copied over another
            start = int(rng.integers(len(content) + 1))
            block = content[start : start + length]
            return content[:at] + block + content[at + len(block) :]
        case 5:  # two files spliced
            return content[:at] + other[int(rng.integers(len(other) + 1)) :]
        case 6:  # the beginning of another kind
            size = int(rng.integers(2, 17))
            return other[:size] + content[size:]
        case _:  # a number set to an extreme
            size = int(rng.choice([1, 2, 4, 8]))
            order: Literal["little", "big"] = "little" if rng.random() < 0.5 else "big"
            sign = 1 << (8 * size - 1)
            value = (0, 1, sign - 1, sign, 2 * sign - 1)[rng.integers(5)].to_bytes(size, order)
            return content[:at] + value + content[at + size :]


def _with_right_checksums(content: bytes) -> bytes:
    """Mend a PNG's checksums, without which hardly any damage would reach the decoder."""
    mended, at = content[:8], 8
    while at < len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        mended += content[at:end] + zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return mended


def outcome(files: Files, folder: Path, scratch: Scratch) -> str:
    """What opening gives: "image", "refused", or what else was raised."""
    target = folder / "input"
    for name, content in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name if name else target).write_bytes(content)
    try:
        image = open_image(str(target), MAX_PIXELS, scratch=scratch)
        pixels = image.pixels
        assert 0 <= pixels.min() <= pixels.max() <= 1, "values beyond the unit range"
        return "image"
    except ImageError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def work(connection: Connection) -> None:
    """Answer input numbers with outcomes, in a process of its own."""
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 2)  # libraries write about damage of their own accord
    with tempfile.TemporaryDirectory() as name:
        sound = sound_images(Path(name))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        while (number := _next(connection)) is not None:
            with tempfile.TemporaryDirectory(dir=name) as folder:
                in_file = Path(folder) / "scratch" if number // len(sound) % 2 else None
                with Scratch(in_file) as scratch:
                    connection.send(outcome(damaged(number, sound)[1], Path(folder), scratch))


def _next(connection: Connection) -> int | None:
    try:
        return int(connection.recv())
    except EOFError:
        return None


class Worker:
    """A process that opens inputs, started again when one of them ends it."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=work, args=(there,), daemon=True)
        self._process.start()
        there.close()

    def ask(self, number: int) -> str:
        """The outcome of an input: as in `outcome`, or "crash" or "hang"."""
        try:
            self._here.send(number)
            if self._here.poll(TIME_LIMIT_S):
                return str(self._here.recv())
            found = "hang"
        except (EOFError, ConnectionError):
            found = "crash"
        self._process.kill()
        self._process.join()
        self._start()
        return found

    def stop(self) -> None:
        """Let the process end."""
        self._here.close()
        self._process.join()


def main() -> None:
    """Open all inputs in a few processes and write a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "fuzz.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        kinds = list(sound_images(Path(name)))
    free: queue.Queue[Worker] = queue.Queue()
    for _ in range(arguments.workers):
        free.put(Worker())

    def ask(number: int) -> str:
        worker = free.get()
        found = worker.ask(number)
        free.put(worker)
        if found not in ("image", "refused"):
            print(f"input {number} ({kinds[number % len(kinds)]}): {found}", flush=True)
        return found

    numbers = range(arguments.first, arguments.first + arguments.inputs)
    with ThreadPoolExecutor(arguments.workers) as pool:
        found = list(pool.map(ask, numbers))
    while not free.empty():
        free.get().stop()
    source = provenance(f"python scripts/fuzz_images.py --inputs {arguments.inputs}")
    for place, kind in enumerate(kinds):
        counts = collections.Counter(
            one for number, one in zip(numbers, found, strict=True) if number % len(kinds) == place
        )
        crashes = counts.total() - counts["image"] - counts["refused"] - counts["hang"]
        row: dict[str, Value] = {
            "target": "image opener",
            "format": kind,
            "inputs": counts.total(),
            "images": counts["image"],
            "refused": counts["refused"],
            "crashes": crashes,
            "hangs": counts["hang"],
        }
        append_row(arguments.results, source | row)
        print(row)


if __name__ == "__main__":
    main()
