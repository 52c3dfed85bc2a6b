"""Ways of damaging the files of a representation; each gives other files for the same folder."""

import hashlib
import json
import struct
from random import Random
from typing import Any

import torch
from fuzz_files import (
    MANIFEST,
    Files,
    Mutation,
    cut,
    flipped,
    foreign,
    inserted,
    missing,
    replaced,
    shards,
    spliced,
    swapped,
)
from safetensors.torch import load, save
from torch import Tensor

_NESTED = "@nested@"
_DEPTHS = (50, 900, 100_000)
_NUMBERS: list[float] = [
    0,
    -1,
    1,
    2,
    3,
    17,
    255,
    4097,
    2**31,
    2**40,
    2**63,
    2**64,
    10**400,
    -(10**400),
]
_NUMBERS += [0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")]
_OTHERS: list[Any] = [
    None,
    True,
    False,
    "",
    "x",
    "1",
    "\n",
    "\0",
    "é" * 9999,
    [],
    {},
    [[]],
    [3, 4],
    {"x": 1},
]
_OTHERS += ["os.system", "miner.models.activations.Sine", "float32", _NESTED]
_NAMES = [
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
]


def signed(content: dict[str, Any], depth: int = 3) -> bytes:
    """A manifest with a checksum that fits; `_NESTED` becomes lists within lists."""
    plain = {name: value for name, value in content.items() if name != "sha256"}
    nested = "[" * depth + "]" * depth

    def text(value: Any, sort_keys: bool) -> str:
        return json.dumps(value, sort_keys=sort_keys).replace(f'"{_NESTED}"', nested)

    digest = hashlib.sha256(text(plain, sort_keys=True).encode()).hexdigest()
    return text({**plain, "sha256": digest}, sort_keys=False).encode()


def edited(random: Random, tree: Any) -> Any:
    """Some JSON of which one value, or one key, is another."""
    if not isinstance(tree, dict | list) or not tree or random.random() < 0.15:
        return random.choice(_NUMBERS if random.random() < 0.5 else _OTHERS)
    if isinstance(tree, list):
        at = random.randrange(len(tree))
        if random.random() < 0.1:
            return random.choice((tree[:at], tree + tree[at:], 40 * tree))
        return [*tree[:at], edited(random, tree[at]), *tree[at + 1 :]]
    name = random.choice(sorted(tree))
    if random.random() < 0.1:
        rest = {key: value for key, value in tree.items() if key != name}
        return random.choice((rest, {**rest, str(random.choice(_NUMBERS)): tree[name]}))
    return {**tree, name: edited(random, tree[name])}


def manifest_value(random: Random, files: Files, other: Files) -> Files:
    """A value of the manifest is another, and the checksum fits."""
    content = json.loads(files[MANIFEST])
    for _ in range(random.choice((1, 1, 2))):
        parts = [name for name in ("spec", "spec", "levels", "fit") if name in content]
        name = random.choice([*parts, *content]) if random.random() < 0.2 else random.choice(parts)
        content = {**content, name: edited(random, content[name])}
    return replaced(files, MANIFEST, signed(content, random.choice(_DEPTHS)))


_SIZES = [1, 2, 3, 4, 5, 8, 13, 31, 32, 64, 65, 100, 512, 513, 1024, 4096, 2**20, 2**31, 2**40]


def resized(random: Random, tree: Any, chance: float) -> Any:
    """Some JSON of which whole numbers are others, and lists are shorter or longer."""
    if isinstance(tree, dict):
        return {name: resized(random, value, chance) for name, value in tree.items()}
    if isinstance(tree, list):
        items = [resized(random, value, chance) for value in tree]
        return items if random.random() > chance else random.choice((items[1:], items + items))
    is_size = isinstance(tree, int) and not isinstance(tree, bool)
    return random.choice(_SIZES) if is_size and random.random() < chance else tree


def manifest_sizes(random: Random, files: Files, other: Files) -> Files:
    """Other sizes in the manifest, which keeps its shards, or some; the checksum fits."""
    content = json.loads(files[MANIFEST])
    spec = content["spec"] = resized(random, content["spec"], random.choice((0.03, 0.1, 0.3)))
    spec["pixel_format"]["channels"] = spec["n_channels"]
    levels = content["levels"]
    kept = {name: found for name, found in levels.items() if random.random() < 0.5}
    content["levels"] = random.choice((levels, kept, {}))
    return replaced(files, MANIFEST, signed(content))


def manifest_names(random: Random, files: Files, other: Files) -> Files:
    """The manifest names another shard, one elsewhere perhaps, and the checksum fits."""
    old, new = random.choice(shards(files)), random.choice([*_NAMES, *shards(files)])
    text = files[MANIFEST].decode().replace(json.dumps(old), json.dumps(new))
    return replaced(files, MANIFEST, signed(json.loads(text)))


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


def opened(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a sound shard."""
    (length,) = struct.unpack("<Q", content[:8])
    return load(content), json.loads(content[8 : 8 + length])["__metadata__"]


def shard_metadata(random: Random, files: Files, other: Files) -> Files:
    """Other metadata of a shard; all checksums fit."""
    name = random.choice(shards(files))
    tensors, metadata = opened(files[name])
    key = random.choice(sorted(set(metadata) - {"sha256", "tensors_sha256"}))
    if key == "stats" and random.random() < 0.8:
        value = json.dumps(edited(random, json.loads(metadata[key])))
        value = value.replace(f'"{_NESTED}"', "[" * 100_000)
    else:
        value = str(random.choice([*_NUMBERS, *_OTHERS, "[" * 100_000, "9" * 5000]))
    return resigned(files, name, tensors, {**metadata, key: value})


_TYPES = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool]
_TYPES += [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn]


def _reshaped(random: Random, tensor: Tensor) -> Tensor:
    flat = tensor.flatten()
    ways = [
        tensor[:0],
        tensor[:-1],
        flat.repeat(2),
        flat[None],
        flat[:, None],
        flat[:1][None, None],
    ]
    ways += [flat[:1].squeeze(0), flat[:0].reshape(0, 2**40), tensor.transpose(0, -1)]
    return random.choice(ways)


def shard_tensors(random: Random, files: Files, other: Files) -> Files:
    """Tensors of other types, shapes and names; all checksums fit."""
    name = random.choice(shards(files))
    tensors, metadata = opened(files[name])
    key = random.choice(sorted(tensors))
    way = random.randrange(5)
    if way == 0:
        tensors[key] = tensors[key].to(random.choice(_TYPES))
    elif way == 1:
        tensors[key] = _reshaped(random, tensors[key])
    elif way == 2:
        tensors[random.choice(["x", "", "float64", "int8", "frames"])] = tensors.pop(key)
    elif way == 3:
        del tensors[key]
    else:
        kind = random.choice(_TYPES)
        tensors[str(kind).removeprefix("torch.")] = torch.zeros(random.randrange(9)).to(kind)
    return resigned(files, name, tensors, metadata)


def shard_numbers(random: Random, files: Files, other: Files) -> Files:
    """Block numbers, widths, frames and parameters out of range; all checksums fit."""
    name = random.choice(shards(files))
    tensors, metadata = opened(files[name])
    key = random.choice(sorted(tensors))
    tensor = tensors[key].clone()
    flat = tensor.flatten()
    for _ in range(min(len(flat), random.choice((1, 5, 10**6)))):
        at = random.randrange(len(flat))
        if tensor.is_floating_point():
            flat[at] = random.choice([float("nan"), float("inf"), -float("inf"), 6e4, 0.0, -1e-8])
        else:
            limits = torch.iinfo(tensor.dtype)
            flat[at] = random.choice(
                [limits.min, limits.max, -1, 0, 1, 2, 100, int(flat[at]) + 1 & 63]
            )
    return resigned(files, name, {**tensors, key: flat.reshape(tensor.shape)}, metadata)


def shard_header(random: Random, files: Files, other: Files) -> Files:
    """Another table of a shard's tensors, of a length that fits."""
    name = random.choice(shards(files))
    (length,) = struct.unpack("<Q", files[name][:8])
    header = edited(random, json.loads(files[name][8 : 8 + length]))
    text = json.dumps(header).replace(f'"{_NESTED}"', "[" * 100_000).encode()
    size = len(text) if random.random() < 0.9 else random.choice([0, 2**31, 2**63, 2**64 - 1])
    return replaced(files, name, struct.pack("<Q", size) + text + files[name][8 + length :])


MUTATIONS: dict[str, Mutation] = {
    function.__name__: function
    for function in (
        *(flipped, cut, inserted, spliced, swapped, missing, foreign),
        *(manifest_value, manifest_sizes, manifest_names),
        *(shard_metadata, shard_tensors, shard_numbers, shard_header),
    )
}
