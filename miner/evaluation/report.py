"""`report.json`: the numbers of a run, measured on what it stored."""

import json
import math
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from miner.files import written_whole

REPORT = "report.json"
_PACKAGES = ("miner", "torch", "pytorch-lightning", "hydra-core", "numpy", "wandb")
# ru_maxrss is in KiB on Linux and in bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_UNDEFINED = {
    "ssim": "it takes an image of at least 11 pixels a side",
    "seam_ratio": "it takes borders between patches, and an error inside them",
    "peak_gpu_memory_gib": "no GPU",
}


def peak_memory_gib() -> float:
    """Most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 2**30


def peak_gpu_memory_gib() -> float | None:
    """Most GPU memory that tensors ever took; None without a GPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def folder_bytes(folder: Path) -> int:
    """Size of all files of a representation, manifest included."""
    return sum(path.stat().st_size for path in folder.iterdir())


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write the report whole or not at all.

    Infinite and undefined numbers become null, with a note that says why.
    """
    notes: list[str] = []
    content = _finite(report, "", notes)
    if notes:
        content["notes"] = notes
    path = folder / REPORT
    with written_whole(path) as scratch:
        scratch.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def _finite(value: Any, name: str, notes: list[str]) -> Any:
    if isinstance(value, Mapping):
        prefix = f"{name}." if name else ""
        return {key: _finite(item, prefix + key, notes) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item, f"{name}[{i}]", notes) for i, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        notes.append(f"{name} is {value}")
        return None
    if value is None:
        notes.append(f"{name} is undefined: {_UNDEFINED.get(name, 'not measured')}")
    return value
