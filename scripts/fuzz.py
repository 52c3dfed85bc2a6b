"""Damage files, open them and count the outcomes; rows in results/.

    python scripts/fuzz.py images                   images of nine kinds: fuzz.tsv
    python scripts/fuzz.py representations          stored fits: fuzz_representation.tsv
    python scripts/fuzz.py TARGET --first N --inputs 1 --results /tmp/row.tsv    one input again

A damaged file opens, or is refused with one line. Anything else is a crash: another error, a dead
process, too much memory; an input that takes too long hangs. An input follows from its number.
"""

import argparse
import hashlib
import json
import os
import resource
import signal
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psutil
import torch
from fuzz_corpus import Files, make_images, make_representations
from rows import ROOT, Value, append_row, provenance, read_header
from safetensors.torch import load, save
from torch import Tensor

from miner.images import open_image
from miner.representation import load as load_representation
from miner.signals.scratch import Scratch
from miner.support.errors import ImageError, RepresentationError
from miner.support.files import json_sha256

MANIFEST = "manifest.json"
SPARE_BYTES, MAX_PIXELS, REGION_SIDE = 2 * 2**30, 2**20, 12
BYTE_DAMAGE = ("truncate", "flip", "zero", "splice", "length")
IMAGE_KINDS = ("png", "jpeg", "tiff", "webp", "avif", "gif", "exr", "npy", "zarr")
SIZES = (0, 1, 2, 3, 5, 13, 64, 100, 513, 4096, 2**20, 2**31, 2**40, 2**63, 10**400, -1)
NUMBERS = (0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
NAMES = ("", ".", "..", "../x", "/etc/passwd", "below/x", "a\0b", "x" * 5000, MANIFEST, "C:\\x")
VALUES: tuple[Any, ...] = (
    *(*SIZES, *NUMBERS, *NAMES, None, True, "1", "é" * 9999, [], {}, [3, 4], {"x": 1}),
    *("os.system", "miner.models.activations.Sine", "float32", json.loads("[" * 500 + "]" * 500)),
)


def damage_bytes(random: Random, content: bytes, other: bytes) -> dict[str, bytes]:
    """Bytes that are missing, flipped, zero, spliced, or an extreme length; more in the header."""
    at = random.randrange(1 + min(len(content), 400 if random.random() < 0.6 else len(content)))
    size = random.choice((1, 2, 4, 8))
    begin, block, rest = content[:at], content[at : at + size], content[at + size :]
    sign_bit = 1 << (8 * size - 1)
    extreme = random.choice((1, sign_bit - 1, sign_bit, 2 * sign_bit - 1)).to_bytes(size, "little")
    more = random.randbytes(random.randrange(1, 64)) + content[at:]
    return {
        "truncate": begin + random.choice((b"", rest, rest[56:])),
        "flip": begin + bytes(byte ^ random.randrange(1, 256) for byte in block) + rest,
        "zero": begin + bytes(random.choice((size, 4096))) + rest,
        "splice": begin + random.choice((other[at:], more, b"[" * 100_000)),
        "length": begin + random.choice((extreme, extreme[::-1])) + rest,
    }


def damage_image(number: int, corpus: dict[str, list[Files]]) -> Files:
    """An image of the kind that the number chooses, damaged up to three times."""
    random = Random(number)
    kind = IMAGE_KINDS[number % len(IMAGE_KINDS)]
    files = random.choice(corpus[kind])
    name = random.choice(sorted(files))
    others = [content for one in random.choice(list(corpus.values())) for content in one.values()]
    content = files[name]
    for _ in range(random.randrange(1, 4)):
        changed = damage_bytes(random, content, random.choice(others))
        content = changed[random.choice(BYTE_DAMAGE)]
    if kind == "png" and random.random() < 0.7:
        content = with_checksums(content)
    return {**files, name: content}


def with_checksums(content: bytes) -> bytes:
    """A PNG with correct checksums: few damaged ones would reach the decoder."""
    fixed, at = content[:8], 8
    while at < len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        fixed += content[at:end] + zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return fixed


def open_damaged_image(path: Path, number: int) -> None:
    """Decode an image into memory or a file; raises `ImageError` if it is refused."""
    folder = path.with_name(f"{path.name}-scratch") if number // len(IMAGE_KINDS) % 2 else None
    with Scratch(folder) as scratch:
        pixels = open_image(str(path), MAX_PIXELS, scratch=scratch).pixels
        assert 0 <= pixels.min() <= pixels.max() <= 1, "values beyond the unit range"


def edit(random: Random, tree: Any) -> Any:
    """JSON with one different value, or one key that is missing or different."""
    if not isinstance(tree, dict | list) or not tree or random.random() < 0.1:
        return random.choice(SIZES if type(tree) is int and random.random() < 0.7 else VALUES)
    if isinstance(tree, list):
        at = random.randrange(len(tree))
        return [*tree[:at], edit(random, tree[at]), *tree[at + random.randrange(2) :]]
    name = random.choice(sorted(tree))
    if random.random() < 0.15:
        rest = {key: value for key, value in tree.items() if key != name}
        return random.choice((rest, {**rest, str(random.choice(VALUES)): tree[name]}))
    return {**tree, name: edit(random, tree[name])}


def sign(content: dict[str, Any]) -> bytes:
    """A manifest with a correct checksum."""
    plain = {name: value for name, value in content.items() if name != "sha256"}
    return json.dumps({**plain, "sha256": json_sha256(plain)}).encode()


def damage_files(random: Random, files: Files, other: Files) -> Files:
    """A file is missing, empty, a copy, or from another representation."""
    name, copied = random.sample(sorted(files), 2)
    rest = {kept: content for kept, content in files.items() if kept != name}
    contents = (b"", files[copied], other.get(name, other[MANIFEST]))
    return random.choice((rest, *({**rest, name: content} for content in contents)))


def damage_manifest(random: Random, files: Files, other: Files) -> Files:
    """A value or a name in the manifest is different; its checksum is correct."""
    content = json.loads(files[MANIFEST])
    name = random.choice([*content, "levels", "levels"])
    return {**files, MANIFEST: sign({**content, name: edit(random, content[name])})}


def damage_spec(random: Random, files: Files, other: Files) -> Files:
    """Up to three sizes or settings of the networks are different; the checksum is correct."""
    content = json.loads(files[MANIFEST])
    for _ in range(random.randrange(1, 4)):
        content["spec"] = edit(random, content["spec"])
    if random.random() < 0.5:
        content["levels"] = {}
    return {**files, MANIFEST: sign(content)}


ShardDamage = Callable[[Random, dict[str, Tensor], dict[str, str]], None]


def in_shard(change: ShardDamage, random: Random, files: Files, other: Files) -> Files:
    """Change a shard's tensors and metadata; all checksums are correct."""
    name = random.choice(sorted(set(files) - {MANIFEST}))
    header_end = 8 + int.from_bytes(files[name][:8], "little")
    tensors, metadata = load(files[name]), json.loads(files[name][8:header_end])["__metadata__"]
    old = metadata.pop("sha256")
    change(random, tensors, metadata)
    digest = hashlib.sha256()
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    metadata["tensors_sha256"] = digest.hexdigest()
    metadata["sha256"] = json_sha256(metadata)
    content = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata)
    manifest = json.loads(files[MANIFEST].decode().replace(old, metadata["sha256"]))
    return {**files, name: content, MANIFEST: sign(manifest)}


def damage_metadata(random: Random, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """A shard's metadata is different."""
    key = random.choice(["stats", *sorted(metadata)])
    stats = json.dumps(edit(random, json.loads(metadata["stats"])))
    texts = [str(random.choice(VALUES)), "[" * 100_000, "9" * 5000]
    metadata[key] = stats if key == "stats" else random.choice(texts)


def damage_tensors(random: Random, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """A tensor has another type, shape or name, or is missing."""
    key = random.choice(sorted(tensors))
    tensor = tensors.pop(key)
    kind = random.choice((torch.int8, torch.int64, torch.bool, torch.bfloat16, torch.float64))
    flat = tensor.flatten()
    shapes = (tensor[:-1], flat[:0].reshape(0, 2**40), flat.repeat(2), flat[None], flat[:, None])
    name = random.choice(("", "frames"))
    changes = ((key, tensor.to(kind)), (key, random.choice(shapes)), (name, tensor))
    tensors.update([random.choice(changes)] if random.random() < 0.9 else [])


def damage_numbers(random: Random, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Block numbers, widths, frames and parameters are out of range."""
    key = random.choice(sorted(tensors))
    flat = tensors[key].flatten().clone()
    extremes: list[float] = [float("nan"), float("inf"), -float("inf"), 6e4, 0.0, -1e-8]
    if not flat.is_floating_point():
        limits = torch.iinfo(flat.dtype)
        extremes = [limits.min, limits.max, -1, 0, 1, 2, 100]
    for _ in range(min(len(flat), random.choice((1, 5, 1000)))):
        flat[random.randrange(len(flat))] = random.choice(extremes)
    tensors[key] = flat.reshape(tensors[key].shape)


STRUCTURAL: dict[str, Callable[[Random, Files, Files], Files]] = {
    "files": damage_files,
    "manifest": damage_manifest,
    "spec": damage_spec,
    "metadata": partial(in_shard, damage_metadata),
    "tensors": partial(in_shard, damage_tensors),
    "numbers": partial(in_shard, damage_numbers),
}
REPRESENTATION_KINDS = (*BYTE_DAMAGE, *STRUCTURAL)


def damage_representation(number: int, corpus: Sequence[Files]) -> Files:
    """A representation with damage of the kind that the number chooses."""
    random = Random(number)
    files, other = random.sample(list(corpus), 2)
    kind = REPRESENTATION_KINDS[number % len(REPRESENTATION_KINDS)]
    if kind in STRUCTURAL:
        return STRUCTURAL[kind](random, files, other)
    name = random.choice([MANIFEST, *sorted(files)])
    donor = random.choice(list((files | other).values()))
    return {**files, name: damage_bytes(random, files[name], donor)[kind]}


def open_damaged_representation(path: Path, number: int) -> None:
    """Load, and render the ends of each level; raises `RepresentationError` if it is refused."""
    found = load_representation(path)
    for level, sides in enumerate(found.spec.level_sides):
        first = tuple((0, min(side, REGION_SIDE)) for side in sides)
        last = tuple((max(0, side - REGION_SIDE), side) for side in sides)
        for region in (first, last):
            shape = (found.spec.n_channels, *(end - begin for begin, end in region))
            assert found.render(level, region).shape == shape


class Target(NamedTuple):
    """What is fuzzed; input n is of the kind `kinds[n % len(kinds)]`."""

    name: str
    kinds: Sequence[str]
    make_corpus: Callable[[], Any]
    damage: Callable[[int, Any], Files]
    open: Callable[[Path, int], None]
    refused_by: type[Exception]
    n_inputs: int
    seconds: int
    file: str = ""  # in results/


TARGETS = {
    "images": Target(
        *("image opener", IMAGE_KINDS, make_images, damage_image, open_damaged_image),
        *(ImageError, 36_000, 30, "fuzz.tsv"),
    ),
    "representations": Target(
        *("representation", REPRESENTATION_KINDS, make_representations),
        *(damage_representation, open_damaged_representation, RepresentationError),
        *(11_000, 10, "fuzz_representation.tsv"),
    ),
}


def write(files: Files, path: Path) -> Path:
    """The files in a folder, or the only one, whose name is empty, at the path."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name if name else path).write_bytes(content)
    return path


def outcome(target: Target, path: Path, number: int = 0) -> str:
    """Whether an input is opened, or refused in one line; other errors are raised."""
    try:
        target.open(path, number)
    except target.refused_by as error:
        assert len(str(error).splitlines()) == 1, f"more than a line: {error}"
        return "refused"
    return "opened"


def run(target: Target, number: int, corpus: Any, folder: Path) -> str:
    """The outcome of an input in a process with limited time and memory."""
    path = write(target.damage(number, corpus), folder / "input")
    child = os.fork()
    if child == 0:
        code = 2
        with suppress(BaseException), Path(os.devnull).open("w") as null:
            os.dup2(null.fileno(), 2)  # libraries write about damage
            limit = psutil.Process().memory_info().vms + SPARE_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            signal.alarm(target.seconds)
            try:
                code = ["opened", "refused"].index(outcome(target, path, number))
            except BaseException:
                print(traceback.format_exc(), flush=True)
        os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = {0: "opened", 1: "refused", -signal.SIGALRM: "hangs"}.get(status, "crashes")
    if status not in (0, 1):
        kind = target.kinds[number % len(target.kinds)]
        print(f"input {number} ({kind}): {found}, exit code {status}", flush=True)
    return found


def main() -> None:
    """Open all inputs, and write a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--inputs", type=int, help="36,000 images or 11,000 representations")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--results", type=Path, help="instead of the file in results/")
    options = parser.parse_args()
    target = TARGETS[options.target]
    n_inputs = options.inputs or target.n_inputs
    torch.set_num_threads(1)  # threads would be missing after a fork
    with ProcessPoolExecutor(1) as pool:
        corpus = pool.submit(target.make_corpus).result()
    outcomes: Counter[tuple[str, str]] = Counter()
    for number in range(options.first, options.first + n_inputs):
        kind = target.kinds[number % len(target.kinds)]
        with tempfile.TemporaryDirectory() as folder:
            outcomes[kind, run(target, number, corpus, Path(folder))] += 1
    origin = provenance(f"python scripts/fuzz.py {options.target} --inputs {n_inputs}")
    path = ROOT / "results" / target.file
    for kind in target.kinds:
        counts = {name: outcomes[kind, name] for name in ("opened", "refused", "crashes", "hangs")}
        known: dict[str, Value] = {"target": target.name, "format": kind, "mutation": kind}
        known |= {"inputs": sum(counts.values()), **counts, **origin}
        known |= {"images": counts["opened"], "loaded": counts["opened"]}
        row = {name: known[name] for name in read_header(path)}
        append_row(options.results or path, row)
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    main()
