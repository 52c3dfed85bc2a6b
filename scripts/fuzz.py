"""Damage files, open them and count how that ends; rows in results/.

    python scripts/fuzz.py images                   images of nine kinds: fuzz.tsv
    python scripts/fuzz.py representations          stored fits: fuzz_representation.tsv
    python scripts/fuzz.py TARGET --first N --inputs 1 --results /tmp/row.tsv    one input again

Whatever a file holds, it opens or is refused by an error of one line. Anything else is a crash:
another error, a process that dies, too much memory. What takes too long hangs. An input follows
from its number.
"""

import argparse
import hashlib
import json
import os
import resource
import signal
import struct
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple

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

MANIFEST = "manifest.json"
SPARE_BYTES, MAX_PIXELS, REGION_SIDE = 2 * 2**30, 2**20, 12


def position(random: Random, content: bytes) -> int:
    """Where to damage a file: more often in its header."""
    return random.randrange(1 + min(len(content), 400 if random.random() < 0.6 else len(content)))


def flipped(random: Random, content: bytes, other: bytes) -> bytes:
    """A few bytes are others."""
    changed = bytearray(content or b"\0")
    for _ in range(random.choice((1, 1, 3, 30))):
        changed[position(random, content) % len(changed)] ^= random.randrange(1, 256)
    return bytes(changed)


def cut(random: Random, content: bytes, other: bytes) -> bytes:
    """A part is missing, at the end or within."""
    first, last = sorted((position(random, content), random.randrange(len(content) + 1)))
    return content[:first] + random.choice((b"", content[last:]))


def inserted(random: Random, content: bytes, other: bytes) -> bytes:
    """Some bytes more."""
    at = position(random, content)
    more = random.choice((random.randbytes(random.randrange(1, 64)), b"\0" * 4096, b"[" * 100_000))
    return content[:at] + more + content[at:]


def spliced(random: Random, content: bytes, other: bytes) -> bytes:
    """The beginning of one file and the end of another."""
    at = random.choice((position(random, content), random.randrange(2, 17)))
    return random.choice((content[:at] + other[at:], other[:at] + content[at:]))


def overwritten(random: Random, content: bytes, other: bytes) -> bytes:
    """A number is an extreme one, or a block is a copy of another."""
    at, size = position(random, content), random.choice((1, 2, 4, 8))
    order: Literal["little", "big"] = random.choice(("little", "big"))
    sign = 1 << (8 * size - 1)
    number = random.choice((0, 1, sign - 1, sign, 2 * sign - 1)).to_bytes(size, order)
    start = random.randrange(len(content) + 1)
    block = random.choice((number, content[start : start + random.randrange(1, 33)]))
    return content[:at] + block + content[at + len(block) :]


IMAGE_KINDS = ("png", "jpeg", "tiff", "webp", "avif", "gif", "exr", "npy", "zarr")
IMAGE_DAMAGE = (flipped, cut, inserted, spliced, overwritten)


def damage_image(number: int, corpus: dict[str, list[Files]]) -> Files:
    """An image of the kind that the number chooses, damaged up to three times."""
    random = Random(number)
    kind = IMAGE_KINDS[number % len(IMAGE_KINDS)]
    files = random.choice(corpus[kind])
    name = random.choice(sorted(files))
    others = [content for one in random.choice(list(corpus.values())) for content in one.values()]
    content = files[name]
    for _ in range(random.randrange(1, 4)):
        content = random.choice(IMAGE_DAMAGE)(random, content, random.choice(others))
    if kind == "png" and random.random() < 0.7:
        content = with_checksums(content)
    return {**files, name: content}


def with_checksums(content: bytes) -> bytes:
    """A PNG with its checksums made right: few damaged ones would reach the decoder."""
    right, at = content[:8], 8
    while at < len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        right += content[at:end] + zlib.crc32(content[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return right


def open_damaged_image(path: Path, number: int) -> None:
    """Decode an image, into memory or a file.

    Raises:
        ImageError: it is refused.
    """
    folder = path.with_name(f"{path.name}-scratch") if number // len(IMAGE_KINDS) % 2 else None
    with Scratch(folder) as scratch:
        pixels = open_image(str(path), MAX_PIXELS, scratch=scratch).pixels
        assert 0 <= pixels.min() <= pixels.max() <= 1, "values beyond the unit range"


Damage = Callable[[Random, Files, Files], Files]
"""Takes a source of randomness, sound files, and those of another representation."""
NESTED = "@nested@"  # stands for lists within lists
NUMBERS: tuple[float, ...] = (
    *(0, -1, 1, 2, 3, 17, 255, 4097, 2**31, 2**40, 2**63, 2**64, 10**400, -(10**400)),
    *(0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "1", "\n", "\0", "é" * 9999, [], {}, [[]], [3, 4], {"x": 1}),
    *("os.system", "miner.models.activations.Sine", "float32", NESTED),
)
SIZES = (1, 2, 3, 4, 5, 8, 13, 31, 32, 64, 65, 100, 512, 513, 1024, 4096, 2**20, 2**31, 2**40)
NAMES = (
    "",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "below/x",
    "a\0b",
    "x" * 5000,
    MANIFEST,
    "\n",
    "C:\\x",
)
TYPES = (
    *(torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn),
)


def shards(files: Files) -> list[str]:
    """Names of the shards."""
    return sorted(name for name in files if name != MANIFEST)


def in_some_file(change: Callable[[Random, bytes, bytes], bytes]) -> Damage:
    """Damage to the bytes of a file, which may come from the other representation."""

    def damage(random: Random, files: Files, other: Files) -> Files:
        name = MANIFEST if random.random() < 0.4 else random.choice(shards(files))
        donor = random.choice((files, other))
        return {**files, name: change(random, files[name], donor[random.choice(sorted(donor))])}

    return damage


def swapped(random: Random, files: Files, other: Files) -> Files:
    """Two files have each other's names."""
    first, second = random.sample(sorted(files), 2)
    return {**files, first: files[second], second: files[first]}


def missing(random: Random, files: Files, other: Files) -> Files:
    """A file is not there, or empty."""
    name = random.choice(sorted(files))
    rest = {kept: content for kept, content in files.items() if kept != name}
    return random.choice((rest, {**rest, name: b""}))


def foreign(random: Random, files: Files, other: Files) -> Files:
    """A file is another representation's."""
    name = random.choice(sorted(files))
    return {**files, name: other.get(name, other[MANIFEST])}


def edited(random: Random, tree: Any) -> Any:
    """Some JSON of which one value, or one key, is another."""
    if not isinstance(tree, dict | list) or not tree or random.random() < 0.15:
        return random.choice(NUMBERS if random.random() < 0.5 else VALUES)
    if isinstance(tree, list):
        at = random.randrange(len(tree))
        if random.random() < 0.1:
            return random.choice((tree[:at], tree + tree[at:], 40 * tree))
        return [*tree[:at], edited(random, tree[at]), *tree[at + 1 :]]
    name = random.choice(sorted(tree))
    if random.random() < 0.1:
        rest = {key: value for key, value in tree.items() if key != name}
        return random.choice((rest, {**rest, str(random.choice(NUMBERS)): tree[name]}))
    return {**tree, name: edited(random, tree[name])}


def resized(random: Random, tree: Any, chance: float) -> Any:
    """Some JSON of which whole numbers are others, and lists are shorter or longer."""
    if isinstance(tree, dict):
        return {name: resized(random, value, chance) for name, value in tree.items()}
    if isinstance(tree, list):
        items = [resized(random, value, chance) for value in tree]
        return items if random.random() > chance else random.choice((items[1:], items + items))
    is_size = isinstance(tree, int) and not isinstance(tree, bool)
    return random.choice(SIZES) if is_size and random.random() < chance else tree


def signed(content: dict[str, Any], depth: int = 3) -> bytes:
    """A manifest with a checksum that fits; `NESTED` becomes lists of some depth."""
    plain = {name: value for name, value in content.items() if name != "sha256"}
    nested = "[" * depth + "]" * depth

    def text(value: Any, sort_keys: bool) -> str:
        return json.dumps(value, sort_keys=sort_keys).replace(f'"{NESTED}"', nested)

    digest = hashlib.sha256(text(plain, sort_keys=True).encode()).hexdigest()
    return text({**plain, "sha256": digest}, sort_keys=False).encode()


def manifest_value(random: Random, files: Files, other: Files) -> Files:
    """A value of the manifest is another, and the checksum fits."""
    content = json.loads(files[MANIFEST])
    for _ in range(random.choice((1, 1, 2))):
        parts = [name for name in ("spec", "spec", "levels", "fit") if name in content]
        name = random.choice([*parts, *content]) if random.random() < 0.2 else random.choice(parts)
        content = {**content, name: edited(random, content[name])}
    return {**files, MANIFEST: signed(content, random.choice((50, 900, 100_000)))}


def manifest_sizes(random: Random, files: Files, other: Files) -> Files:
    """Other sizes in the manifest, which keeps its shards, or some; the checksum fits."""
    content = json.loads(files[MANIFEST])
    spec = content["spec"] = resized(random, content["spec"], random.choice((0.03, 0.1, 0.3)))
    spec["pixel_format"]["channels"] = spec["n_channels"]
    levels = content["levels"]
    kept = {name: found for name, found in levels.items() if random.random() < 0.5}
    content["levels"] = random.choice((levels, kept, {}))
    return {**files, MANIFEST: signed(content)}


def manifest_names(random: Random, files: Files, other: Files) -> Files:
    """The manifest names another shard, one elsewhere perhaps, and the checksum fits."""
    old, new = random.choice(shards(files)), random.choice([*NAMES, *shards(files)])
    text = files[MANIFEST].decode().replace(json.dumps(old), json.dumps(new))
    return {**files, MANIFEST: signed(json.loads(text))}


def opened(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a sound shard."""
    (length,) = struct.unpack("<Q", content[:8])
    return load(content), json.loads(content[8 : 8 + length])["__metadata__"]


def resigned(
    files: Files, name: str, tensors: dict[str, Tensor], metadata: dict[str, str]
) -> Files:
    """Another content of a shard, whose checksum fits, as does the manifest."""
    metadata = dict(metadata)
    old = metadata.pop("sha256")
    digest = hashlib.sha256()
    for key, tensor in sorted(tensors.items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    metadata["tensors_sha256"] = digest.hexdigest()
    metadata["sha256"] = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
    content = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata)
    manifest = json.loads(files[MANIFEST].decode().replace(old, metadata["sha256"]))
    return {**files, name: content, MANIFEST: signed(manifest)}


def in_some_shard(change: Callable[[Random, dict[str, Tensor], dict[str, str]], None]) -> Damage:
    """A change of a shard's tensors and metadata, after which all checksums fit."""

    def damage(random: Random, files: Files, other: Files) -> Files:
        name = random.choice(shards(files))
        tensors, metadata = opened(files[name])
        change(random, tensors, metadata)
        return resigned(files, name, tensors, metadata)

    return damage


def shard_metadata(random: Random, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Other metadata."""
    key = random.choice(sorted(set(metadata) - {"sha256", "tensors_sha256"}))
    if key == "stats" and random.random() < 0.8:
        stats = json.dumps(edited(random, json.loads(metadata[key])))
        metadata[key] = stats.replace(f'"{NESTED}"', "[" * 100_000)
    else:
        metadata[key] = str(random.choice([*NUMBERS, *VALUES, "[" * 100_000, "9" * 5000]))


def shard_tensors(random: Random, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Tensors of other types, shapes and names."""
    key = random.choice(sorted(tensors))
    tensor, kind = tensors.pop(key), random.choice(TYPES)
    flat = tensor.flatten()
    shapes = [tensor[:0], tensor[:-1], tensor.transpose(0, -1), flat[:0].reshape(0, 2**40)]
    shapes += [flat.repeat(2), flat[None], flat[:, None], flat[:1][None, None], flat[:1].squeeze(0)]
    more = torch.zeros(random.randrange(9)).to(kind)
    changes: list[dict[str, Tensor]] = [
        {},
        {key: tensor.to(kind)},
        {key: random.choice(shapes)},
        {random.choice(["x", "", "float64", "int8", "frames"]): tensor},
        {key: tensor, str(kind).removeprefix("torch."): more},
    ]
    tensors.update(random.choice(changes))


def shard_numbers(random: Random, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Block numbers, widths, frames and parameters out of range."""
    key = random.choice(sorted(tensors))
    flat = tensors[key].flatten().clone()
    for _ in range(min(len(flat), random.choice((1, 5, 10**6)))):
        at = random.randrange(len(flat))
        extremes: list[float] = [float("nan"), float("inf"), -float("inf"), 6e4, 0.0, -1e-8]
        if not flat.is_floating_point():
            limits = torch.iinfo(flat.dtype)
            extremes = [limits.min, limits.max, -1, 0, 1, 2, 100, int(flat[at]) + 1 & 63]
        flat[at] = random.choice(extremes)
    tensors[key] = flat.reshape(tensors[key].shape)


def shard_header(random: Random, files: Files, other: Files) -> Files:
    """Another table of a shard's tensors, of a length that fits."""
    name = random.choice(shards(files))
    (length,) = struct.unpack("<Q", files[name][:8])
    header = edited(random, json.loads(files[name][8 : 8 + length]))
    text = json.dumps(header).replace(f'"{NESTED}"', "[" * 100_000).encode()
    size = len(text) if random.random() < 0.9 else random.choice([0, 2**31, 2**63, 2**64 - 1])
    return {**files, name: struct.pack("<Q", size) + text + files[name][8 + length :]}


REPRESENTATION_DAMAGE: dict[str, Damage] = {
    **{one.__name__: in_some_file(one) for one in (flipped, cut, inserted, spliced)},
    **{one.__name__: one for one in (swapped, missing, foreign)},
    **{one.__name__: one for one in (manifest_value, manifest_sizes, manifest_names)},
    **{one.__name__: in_some_shard(one) for one in (shard_metadata, shard_tensors, shard_numbers)},
    "shard_header": shard_header,
}


def damage_representation(number: int, corpus: Sequence[Files]) -> Files:
    """A representation with damage of the kind that the number chooses."""
    random = Random(number)
    files, other = random.sample(list(corpus), 2)
    kind = list(REPRESENTATION_DAMAGE)[number % len(REPRESENTATION_DAMAGE)]
    return REPRESENTATION_DAMAGE[kind](random, files, other)


def open_damaged_representation(path: Path, number: int) -> None:
    """Load, and render the first and the last few pixels of each level.

    Raises:
        RepresentationError: it is refused.
    """
    found = load_representation(path)
    for level, sides in enumerate(found.spec.level_sides):
        first = tuple((0, min(side, REGION_SIDE)) for side in sides)
        last = tuple((max(0, side - REGION_SIDE), side) for side in sides)
        for region in (first, last):
            shape = (found.spec.n_channels, *(end - begin for begin, end in region))
            assert found.render(level, region).shape == shape


class Target(NamedTuple):
    """What is fuzzed; input n has the kind `kinds[n % len(kinds)]`."""

    name: str
    kinds: Sequence[str]
    make_corpus: Callable[[], Any]
    damage: Callable[[int, Any], Files]
    open: Callable[[Path, int], None]
    refused_by: type[Exception]
    n_inputs: int
    seconds: int
    file: str = ""  # in results/

    def kind(self, number: int) -> str:
        """The kind of an input."""
        return self.kinds[number % len(self.kinds)]


TARGETS = {
    "images": Target(
        *("image opener", IMAGE_KINDS, make_images, damage_image, open_damaged_image),
        *(ImageError, 36_000, 30, "fuzz.tsv"),
    ),
    "representations": Target(
        *("representation", list(REPRESENTATION_DAMAGE), make_representations),
        *(damage_representation, open_damaged_representation, RepresentationError),
        *(14_000, 10, "fuzz_representation.tsv"),
    ),
}


def write(files: Files, path: Path) -> Path:
    """The files in a folder, or the only one, whose name is empty, at the path."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name if name else path).write_bytes(content)
    return path


def outcome(target: Target, path: Path, number: int = 0) -> str:
    """Whether an input is opened, or refused in one line; what else it raises is raised."""
    try:
        target.open(path, number)
    except target.refused_by as error:
        assert len(str(error).splitlines()) == 1, f"more than a line: {error}"
        return "refused"
    return "opened"


def run(target: Target, number: int, corpus: Any, folder: Path) -> str:
    """The outcome of an input in a process of its own."""
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
    how = {0: "opened", 1: "refused", -signal.SIGALRM: "hangs"}.get(status, "crashes")
    if status not in (0, 1):
        print(f"input {number} ({target.kind(number)}): {how}, exit code {status}", flush=True)
    return how


def main() -> None:
    """Open all inputs, and write a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--inputs", type=int, help="36,000 images or 14,000 representations")
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
        with tempfile.TemporaryDirectory() as folder:
            outcomes[target.kind(number), run(target, number, corpus, Path(folder))] += 1
    origin = provenance(f"python scripts/fuzz.py {options.target} --inputs {n_inputs}")
    path = ROOT / "results" / target.file
    for kind in target.kinds:
        hows = {how: outcomes[kind, how] for how in ("opened", "refused", "crashes", "hangs")}
        columns = {"images": hows["opened"], "loaded": hows["opened"]}
        known: dict[str, Value] = {"target": target.name, "format": kind, "mutation": kind}
        known |= {"inputs": sum(hows.values())} | hows | columns | origin
        row = {name: known[name] for name in read_header(path)}
        append_row(options.results or path, row)
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    main()
