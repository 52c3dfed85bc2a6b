"""A saved representation of mixed widths, and ways of changing its files so that they still fit."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from products import make_spec, random_representation
from safetensors import safe_open
from safetensors.torch import save_file

from miner.models.parameters import Parameters
from miner.representation import Manifest, Shard, load, write_manifest, write_shard
from miner.support.errors import RepresentationError

SPEC = make_spec((13, 9), n_levels=2)
SHOWN = random_representation(SPEC)
MANIFEST, SHARD = "manifest.json", "level00-chunk00001.safetensors"
Edit = Callable[[dict[str, Any]], object]


def refused(folder: Path, message: str | None = None) -> None:
    """Loading fails as it should."""
    with pytest.raises(RepresentationError, match=message):
        load(folder)


def edit_manifest(folder: Path, edit: Edit) -> None:
    """Change a manifest and make its checksum fit again."""
    content = json.loads((folder / MANIFEST).read_text())
    del content["sha256"]
    edit(content)
    content["sha256"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(content))


def edit_shard(folder: Path, edit: Callable[[Parameters], object]) -> None:
    """Change the tensors of `SHARD` and make its checksum, and the manifest's, fit again."""
    with safe_open(folder / SHARD, framework="pt") as file:
        metadata, names = dict(file.metadata()), file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    del metadata["sha256"]
    edit(tensors)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    metadata["tensors_sha256"] = digest.hexdigest()
    metadata["sha256"] = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
    save_file(tensors, folder / SHARD, metadata)
    edit_manifest(
        folder, lambda content: content["levels"]["0"].update({SHARD: metadata["sha256"]})
    )


def save_shards(folder: Path, *shards: Shard) -> Path:
    """Write level 0 with whatever shards, and a manifest that fits them."""
    checksums = {s.file_name: write_shard(folder, s).sha256 for s in shards}
    write_manifest(folder, Manifest(SPEC, {0: checksums}))
    return folder
