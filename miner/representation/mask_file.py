"""The file of a mask: its packed bits, compressed, in an archive that `numpy.load` reads."""

import math
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np

from miner.representation.spec import Manifest
from miner.signals.mask import Mask, packed_shape
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write

MASK = "mask.npz"
_OVERHEAD_BYTES = 2**16  # of headers, and of what is not compressible
_UNREADABLE = (
    *(OSError, ValueError, LookupError, EOFError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)


def write_mask(folder: Path, mask: Mask | None) -> None:
    """Write the mask, if there is one, whole or not at all."""
    if mask is not None:
        with atomic_write(folder / MASK) as scratch, scratch.open("wb") as stream:
            np.savez_compressed(stream, valid=mask.bits)


def read_mask(folder: Path, manifest: Manifest) -> Mask | None:
    """The mask that a manifest names, if any; `RepresentationError` if it is missing or damaged."""
    if not manifest.mask:
        return None
    path, shape = folder / MASK, packed_shape(manifest.spec.sides)
    size = math.prod(shape)
    try:
        if not path.is_file() or path.stat().st_size > size + size // 64 + _OVERHEAD_BYTES:
            raise ValueError(f"no plain file of about {size} bytes at most")
        with zipfile.ZipFile(path) as archive, archive.open("valid.npy") as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("of another version")
            if np.lib.format.read_array_header_1_0(stream) != (shape, False, np.dtype(np.uint8)):
                raise ValueError(f"not the bits of {manifest.spec.sides} pixels")
            content = stream.read(size + 1)  # grows with what is there, whatever the sides claim
        if sha256(content).hexdigest() != manifest.mask:
            raise ValueError("its checksum does not match its content")
    except _UNREADABLE as error:
        remedy = "copy it again from where it was written, or fit again"
        raise RepresentationError(f"{path}: damaged mask ({error}); {remedy}") from error
    return Mask(manifest.spec.sides, np.frombuffer(content, np.uint8).reshape(shape))
