"""The manifest: what a representation is made of, and what it was fitted to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miner.representation.components import parse, shorten
from miner.representation.spec import Spec
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write, json_sha256, read_regular_file

MANIFEST = "manifest.json"
_FORMAT, _VERSION = "miner-representation", 4
_MAX_BYTES = 2**28  # some two million shards


@dataclass(frozen=True)
class Manifest:
    """Geometry and networks, and for each finished level its shards' files with their checksums.

    `fit` is what the fit depended on, in plain data: settings, image, device; rendering does not
    need it.
    """

    spec: Spec
    levels: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Content:
    """What the file holds besides its format, version and checksum."""

    spec: dict[str, Any]
    fit: dict[str, Any]
    levels: dict[int, dict[str, str]]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest whole or not at all.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    levels = sorted(manifest.levels.items())
    content: dict[str, Any] = {
        "format": _FORMAT,
        "version": _VERSION,
        "spec": manifest.spec.to_json(),
        "fit": dict(manifest.fit),
        "levels": {str(level): dict(checksums) for level, checksums in levels},
    }
    content["sha256"] = json_sha256(content)
    with atomic_write(folder / MANIFEST) as scratch:
        scratch.write_text(json.dumps(content, indent=1))


def read_manifest(folder: Path) -> Manifest:
    """Read and check a folder's manifest, without the shards that it names.

    Raises:
        RepresentationError: it is missing, damaged or foreign, or of another version.
    """
    path = folder / MANIFEST
    try:
        text = read_regular_file(path, _MAX_BYTES)
        content = json.loads(text)
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError("it is not that of a MINER representation")
        if (version := content.get("version")) != _VERSION:
            message = f"format version {shorten(version)}, this program reads {_VERSION}"
            if isinstance(version, int) and version < _VERSION:
                message += "; an earlier version of the program wrote it, so fit again"
            raise ValueError(message)
        if content.pop("sha256", None) != json_sha256(content):
            raise ValueError("the manifest was changed after it was written")
        data = parse(_Content, text, MANIFEST)
        spec = Spec.from_json(data.spec)
        for level in data.levels:
            if not 0 <= level < spec.n_levels:
                raise ValueError(f"level {level} is not one of {spec.n_levels}")
    except FileNotFoundError as error:
        raise RepresentationError(f"{path}: no representation here; give its folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RepresentationError(f"{path}: unreadable manifest: {error}") from error
    return Manifest(spec, data.levels, data.fit)
