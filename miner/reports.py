"""`report.json`: written whole or not at all, in numbers that every JSON reader takes."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miner.files import read_plain, written_whole

REPORT = "report.json"
_MOST_BYTES = 2**26
_NUMBERS = re.compile(r"\[[-+.\deulns\s,]+\]")  # lists of numbers and null go on one line
_UNDEFINED = {
    "ssim": "it takes an image of at least 11 pixels a side",
    "seam_ratio": "it takes borders between patches, and an error inside them",
    "peak_gpu_memory_gib": "no GPU",
}


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write the report whole or not at all.

    Infinite and undefined numbers become null, with a note that says why.
    """
    notes: list[str] = []
    content = {
        name: value if name == "settings" else _finite(value, name, notes)
        for name, value in report.items()
    }
    if notes:
        content["notes"] = notes
    path = folder / REPORT
    with written_whole(path) as scratch:
        text = json.dumps(content, indent=1, allow_nan=False)
        scratch.write_text(_NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")
    return path


def read_report(folder: Path) -> dict[str, Any] | None:
    """Read a folder's report; None where there is none.

    Raises:
        ValueError: what is there is no report.
    """
    path = folder / REPORT
    try:
        content = json.loads(read_plain(path, _MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); delete it and run again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds no report; delete it and run again")
    return content


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
