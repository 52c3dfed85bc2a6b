"""One finished chunk of blocks, and its safetensors file: tensors, metadata and their checksums."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from miner.models.network import WIDEST, Parameters, select
from miner.representation.spec import Spec
from miner.support.components import parse
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write, json_sha256

_REMEDY, _MISFIT = "its run, resumed, fits it again", "its tensors do not fit the manifest"
SUFFIX = ".safetensors"
_INTEGERS = (torch.int16, torch.int32, torch.int64)


def shard_name(level: int, chunk: int) -> str:
    """Name of a chunk's file inside a representation's folder."""
    return f"level{level:02d}-chunk{chunk:05d}{SUFFIX}"


@dataclass(frozen=True)
class ChunkStats:
    """How a chunk's fit went."""

    n_active: int
    n_converged: int
    n_fresh: int
    n_diverged: int  # fitted again at a tenth of the rate
    seconds: float
    curve: tuple[tuple[int, float, float], ...]  # (step, seconds, summed squared error)


@dataclass(frozen=True)
class Shard:
    """Stored blocks of one chunk: numbers `(B,)` ascending, frames `(B, 1 + D)`, widths `(B,)`.

    `stored` holds, for each width, the stored tensors of the blocks that have it, in their order.
    A shard that was written or read has the checksums of its file and of its tensors, and the
    digest of what its fit depended on.
    """

    level: int
    chunk: int
    blocks: Tensor
    frames: Tensor
    widths: Tensor
    stored: Mapping[int, Parameters]
    stats: ChunkStats
    sha256: str = ""
    tensors_sha256: str = ""
    parent_digest: str = ""

    def select(self, kept: Tensor) -> "Shard":
        """The blocks of a mask `(B,)` alone."""
        rows = {width: torch.nonzero(kept[self.widths == width]).flatten() for width in self.stored}
        stored = {w: select(self.stored[w], at) for w, at in rows.items() if len(at)}
        columns = self.blocks[kept], self.frames[kept], self.widths[kept]
        return Shard(self.level, self.chunk, *columns, stored, self.stats)

    @property
    def file_name(self) -> str:
        """Name of the shard's file inside a representation's folder."""
        return shard_name(self.level, self.chunk)


class FileParameters(Mapping[int, Parameters]):
    """`Shard.stored`, read whenever it is used."""

    def __init__(self, read: Callable[[], Mapping[int, Parameters]]) -> None:
        self._read = read

    def __getitem__(self, width: int) -> Parameters:
        return self._read()[width]

    def __iter__(self) -> Iterator[int]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def write_shard(folder: Path, shard: Shard, parent_digest: str = "") -> Shard:
    """Write a shard whole or not at all, and return it with its digests.

    Raises `ValueError` if a number is not finite, `OSError` if the folder takes no file.
    """
    tensors = _joined(shard)
    if not _is_finite(tensors):
        raise ValueError(f"{shard.file_name}: holds NaN or infinite numbers")
    digest = _digest(tensors)
    metadata = {
        "level": str(shard.level),
        "chunk": str(shard.chunk),
        "basis": parent_digest,
        "stats": json.dumps(asdict(shard.stats)),
        "tensors_sha256": digest,
    }
    checksum = json_sha256(metadata)
    with atomic_write(folder / shard.file_name) as scratch:
        # save_file would hide the file from other users
        scratch.write_bytes(save(tensors, metadata | {"sha256": checksum}))
    return replace(shard, sha256=checksum, tensors_sha256=digest, parent_digest=parent_digest)


def read_shard(path: Path, spec: Spec) -> Shard:
    """A shard; raises `RepresentationError` if it is missing, damaged, or of other networks."""
    try:
        _require(path.is_file() or not path.exists(), "no plain file")
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        checksum = metadata.pop("sha256")
        found = json_sha256(metadata), _digest(tensors)
        expected = checksum, metadata["tensors_sha256"]
        _require(found == expected, "its checksum does not match its content")
        _require(_is_finite(tensors), "it holds NaN or infinite numbers")
        return _shard(tensors, metadata | {"sha256": checksum}, spec)
    except FileNotFoundError as error:
        raise RepresentationError(f"{path}: the shard is missing; {_REMEDY}") from error
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RepresentationError(f"{path}: damaged shard ({error}); {_REMEDY}") from error


def _shard(tensors: Parameters, metadata: Mapping[str, str], spec: Spec) -> Shard:
    level, chunk = int(metadata["level"]), int(metadata["chunk"])
    blocks, widths = tensors.pop("blocks"), tensors.pop("widths")
    frames = tensors.pop("frames", torch.zeros(len(blocks), 1 + len(spec.sides), dtype=torch.int))
    is_integer = all(tensor.dtype in _INTEGERS for tensor in (blocks, widths, frames))
    _require(is_integer, "its blocks, widths and frames are not whole numbers")
    blocks, widths, frames = blocks.long(), widths.long(), frames.long()
    _require(0 <= level < spec.n_levels, f"level {level} is not one of {spec.n_levels}")
    _require(blocks.ndim == 1, "its block numbers are not a list")
    n_blocks = spec.grid(level).n_blocks
    is_ascending = (blocks.diff() > 0).all() and ((blocks >= 0) & (blocks < n_blocks)).all()
    _require(is_ascending, f"its block numbers are not ascending within {n_blocks}")
    _require(frames.shape == (len(blocks), 1 + len(spec.sides)), "its frames are impossible")
    generations, offsets = frames[:, :1], frames[:, 1:]
    is_possible = (generations >= 0) & (generations < 32) & (offsets >= 0)
    is_possible &= offsets >> generations == 0
    _require(is_possible.all(), "its frames are impossible")
    is_width = widths.shape == blocks.shape and ((widths > 0) & (widths <= WIDEST)).all()
    _require(is_width, f"its widths are not one number from 1 to {WIDEST} per block")
    stored = _split(tensors, level, widths, spec)
    stats = parse(ChunkStats, metadata["stats"], "stats")
    digests = metadata["sha256"], metadata["tensors_sha256"], metadata["basis"]
    return Shard(level, chunk, blocks, frames, widths, stored, stats, *digests)


def _joined(shard: Shard) -> Parameters:
    """The tensors of a file, in which all numbers of one type are one flat tensor."""
    tensors = {"blocks": shard.blocks.int(), "widths": shard.widths.short()}
    if shard.frames.any():
        tensors["frames"] = shard.frames.int()
    parts: dict[str, list[Tensor]] = {}
    for _, stored in sorted(shard.stored.items()):
        for _, tensor in sorted(stored.items()):
            parts.setdefault(_name(tensor.dtype), []).append(tensor.flatten())
    return tensors | {name: torch.cat(flat) for name, flat in parts.items()}


def _split(
    tensors: Mapping[str, Tensor], level: int, widths: Tensor, spec: Spec
) -> dict[int, Parameters]:
    rest = {kind: tensor.flatten() for kind, tensor in tensors.items()}
    stored: dict[int, Parameters] = {}
    for width in widths.unique().tolist():
        n_blocks = int((widths == width).sum())
        layout = spec.storage.layout(spec.model(level, width).shapes())
        stored[width] = {}
        for name, (dtype, shape) in sorted(layout.items()):
            kind, size = _name(dtype), n_blocks * math.prod(shape)
            part, rest[kind] = rest[kind][:size], rest[kind][size:]
            _require(part.dtype == dtype and len(part) == size, _MISFIT)
            stored[width][name] = part.reshape(n_blocks, *shape)
    _require(not any(map(len, rest.values())), _MISFIT)
    return stored


def _require(condition: Tensor | bool, message: str) -> None:
    if not condition:
        raise RepresentationError(message)


def _is_finite(tensors: Parameters) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _digest(tensors: Parameters) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
