"""The manifest: what a representation is made of, and what it was fitted to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from miner.representation.spec import Spec
from miner.support.errors import RepresentationError
from miner.support.files import atomic_write, read_regular_file

MANIFEST = "manifest.json"


_FORMAT, _VERSION = "miner-representation", 4


_MOST_BYTES = 2**28  # some two million shards


@dataclass(frozen=True)
class Manifest:
    """Geometry and networks, and for each finished level its shards' files with their checksums.

    `fit` is what the fit depended on, in plain data: settings, image, device; rendering does not
    need it.
    """

    spec: Spec
    levels: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    fit: Mapping[str, Any] = field(default_factory=dict)


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
        "levels": {str(level): dict(found) for level, found in levels},
    }
    content["sha256"] = _digest(content)
    with atomic_write(folder / MANIFEST) as scratch:
        scratch.write_text(json.dumps(content, indent=1))


def read_manifest(folder: Path) -> Manifest:
    """Read and check a folder's manifest; the shards that it names are not looked at.

    Raises:
        RepresentationError: it is missing, damaged or foreign.
    """
    path = folder / MANIFEST
    content = _checked(path)
    try:
        spec = Spec.from_json(content["spec"])
        levels = {int(level): dict(found) for level, found in content["levels"].items()}
        fit = dict(content["fit"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RepresentationError(f"{path}: {error}") from error
    strange = sorted(level for level in levels if not 0 <= level < spec.n_levels)
    if strange:
        raise RepresentationError(f"{path}: level {strange[0]} is not one of {spec.n_levels}")
    return Manifest(spec, levels, fit)


def _checked(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_regular_file(path, _MOST_BYTES))
        given = content.pop("sha256", None) if isinstance(content, dict) else None
        is_unchanged = given == _digest(content)
    except FileNotFoundError as error:
        raise RepresentationError(f"{path}: no representation here; give its folder") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RepresentationError(f"{path}: not a readable manifest ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise RepresentationError(f"{path}: not the manifest of a MINER representation")
    if content.get("version") != _VERSION:
        raise RepresentationError(
            f"{path}: format version {content.get('version')}, this program reads {_VERSION}"
        )
    if not is_unchanged:
        raise RepresentationError(f"{path}: the manifest was changed after it was written")
    return content


def _digest(content: Any) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
