"""One finished chunk of blocks, and its file.

A shard file is safetensors (data only, nothing is unpickled) with the chunk's block numbers, stored
parameters and metadata. One checksum covers the tensors, another that one and the metadata.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from miner.models.parameters import Parameters
from miner.representation.spec import WIDEST, Spec
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write

_REMEDY = "its run, resumed, fits it again"


_WHOLE = (torch.int16, torch.int32, torch.int64)


def shard_name(level: int, chunk: int) -> str:
    """Name of a chunk's file inside a representation's folder."""
    return f"level{level:02d}-chunk{chunk:05d}.safetensors"


@dataclass(frozen=True)
class ChunkStats:
    """How a chunk's fit went. `curve` holds (step, seconds, summed squared error) triples.

    `n_diverged` blocks were fitted again at a tenth of the rate.
    """

    n_active: int
    n_converged: int
    n_fresh: int
    n_diverged: int
    seconds: float
    curve: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class Shard:
    """Stored blocks of one chunk: numbers `(B,)` ascending, frames `(B, 1 + D)`, widths `(B,)`.

    `stored` holds, for each width, the stored tensors of the blocks that have it, in their order.
    """

    level: int
    chunk: int
    blocks: Tensor
    frames: Tensor
    widths: Tensor
    stored: Mapping[int, Parameters]
    stats: ChunkStats

    def groups(self) -> Iterator[tuple[int, Tensor, Parameters]]:
        """Each width, which rows of `blocks` have it, and their stored tensors."""
        for width, stored in self.stored.items():
            yield width, torch.nonzero(self.widths == width).flatten(), stored

    def width_counts(self) -> tuple[list[int], list[int]]:
        """The widths that occur, and how many blocks have each."""
        widths, counts = self.widths.unique(return_counts=True)
        return widths.tolist(), counts.tolist()

    @property
    def file_name(self) -> str:
        """Name of the shard's file inside a representation's folder."""
        return shard_name(self.level, self.chunk)


class ShardFile(NamedTuple):
    """A shard as it lies in a file.

    `sha256` covers the whole file, `tensors_sha256` the tensors alone, which a fit that is repeated
    gives again. `basis` says what the shard was fitted on; a fit that is resumed asks for it.
    """

    shard: Shard
    sha256: str
    tensors_sha256: str
    basis: str


def write_shard(folder: Path, shard: Shard, basis: str = "") -> ShardFile:
    """Write a shard whole or not at all.

    Raises:
        ValueError: a number is not finite; nothing is written.
        OSError: the disk is full, or the folder cannot be written.
    """
    tensors = _tensors(shard)
    if not _is_finite(tensors):
        raise ValueError(f"{shard.file_name}: holds NaN or infinite numbers")
    metadata = {
        "level": str(shard.level),
        "chunk": str(shard.chunk),
        "basis": basis,
        "stats": json.dumps(asdict(shard.stats)),
        "tensors_sha256": _digest(tensors),
    }
    checksum = _checksum(metadata)
    with atomic_write(folder / shard.file_name) as scratch:
        # save_file would hide the file from other users
        scratch.write_bytes(save(tensors, metadata | {"sha256": checksum}))
    return ShardFile(shard, checksum, metadata["tensors_sha256"], basis)


def read_shard(path: Path, spec: Spec) -> ShardFile:
    """Read and check a shard.

    Raises:
        RepresentationError: the file is missing, damaged, or not of this representation.
    """
    try:
        if path.exists() and not path.is_file():
            raise RepresentationError("no plain file")
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum = metadata.pop("sha256")
        if _checksum(metadata) != checksum or _digest(tensors) != metadata["tensors_sha256"]:
            raise RepresentationError("its checksum does not match its content")
        if not _is_finite(tensors):
            raise RepresentationError("it holds NaN or infinite numbers")
        shard = _shard(tensors, metadata, spec)
        return ShardFile(shard, checksum, metadata["tensors_sha256"], metadata["basis"])
    except FileNotFoundError as error:
        raise RepresentationError(f"{path}: the shard is missing; {_REMEDY}") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RepresentationError(f"{path}: damaged shard ({error}); {_REMEDY}") from error


def _tensors(shard: Shard) -> Parameters:
    """What a file holds: numbers of one type lie in one tensor, whose parts the spec tells."""
    tensors = {"blocks": shard.blocks.int(), "widths": shard.widths.short()}
    if shard.frames.any():
        tensors["frames"] = shard.frames.int()
    rows: dict[str, list[Tensor]] = {}
    for _, stored in sorted(shard.stored.items()):
        for _, tensor in sorted(stored.items()):
            rows.setdefault(_name(tensor.dtype), []).append(tensor.flatten())
    return tensors | {name: torch.cat(parts) for name, parts in rows.items()}


def _is_finite(tensors: Parameters) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _shard(tensors: Parameters, metadata: dict[str, str], spec: Spec) -> Shard:
    level, chunk = int(metadata["level"]), int(metadata["chunk"])
    blocks, widths = tensors.pop("blocks"), tensors.pop("widths")
    frames = tensors.pop("frames", torch.zeros(len(blocks), 1 + len(spec.sides), dtype=torch.int))
    if any(tensor.dtype not in _WHOLE for tensor in (blocks, widths, frames)):
        raise RepresentationError("its blocks, widths and frames are not whole numbers")
    blocks, widths, frames = blocks.long(), widths.long(), frames.long()
    stats: dict[str, Any] = json.loads(metadata["stats"])
    stats["curve"] = tuple((step, seconds, sse) for step, seconds, sse in stats["curve"])
    _check_blocks(blocks, frames, level, spec)
    if widths.shape != blocks.shape or not bool(((widths > 0) & (widths <= WIDEST)).all()):
        raise RepresentationError(f"its widths are not one number from 1 to {WIDEST} per block")
    stored = _parted(tensors, level, widths, spec)
    return Shard(level, chunk, blocks, frames, widths, stored, ChunkStats(**stats))


def _parted(
    tensors: Mapping[str, Tensor], level: int, widths: Tensor, spec: Spec
) -> dict[int, Parameters]:
    """Undo what `_tensors` joined."""
    taken = dict.fromkeys(tensors, 0)
    stored: dict[int, Parameters] = {}
    for width in widths.unique().tolist():
        n_blocks = int((widths == width).sum())
        layout = spec.storage.layout(spec.model(level, width).shapes())
        stored[width] = {}
        for name, (dtype, shape) in sorted(layout.items()):
            kind, size = _name(dtype), n_blocks * math.prod(shape)
            part = tensors[kind].flatten()[taken[kind] : taken[kind] + size]
            if len(part) != size or part.dtype != dtype:
                raise RepresentationError("its tensors do not fit the manifest")
            stored[width][name] = part.reshape(n_blocks, *shape)
            taken[kind] += size
    unread = [kind for kind, tensor in tensors.items() if not 0 < taken[kind] == tensor.numel()]
    if unread:
        raise RepresentationError("its tensors do not fit the manifest")
    return stored


def _check_blocks(blocks: Tensor, frames: Tensor, level: int, spec: Spec) -> None:
    if not 0 <= level < spec.n_levels:
        raise RepresentationError(f"level {level} is not one of {spec.n_levels}")
    n_blocks = spec.grid(level).n_blocks
    if blocks.ndim != 1:
        raise RepresentationError("its block numbers are not a list")
    ascending = bool((blocks.diff() > 0).all())
    if len(blocks) and not (ascending and blocks[0] >= 0 and blocks[-1] < n_blocks):
        raise RepresentationError(f"its block numbers are not ascending within {n_blocks}")
    if tuple(frames.shape) != (len(blocks), 1 + len(spec.sides)):
        raise RepresentationError("its frames are impossible")
    generations = frames[:, :1]
    if not bool(
        ((generations >= 0) & (generations < 32) & (frames[:, 1:] >= 0)).all()
        and (frames[:, 1:] < 2**generations).all()
    ):
        raise RepresentationError("its frames are impossible")


def _digest(tensors: Parameters) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _checksum(metadata: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
