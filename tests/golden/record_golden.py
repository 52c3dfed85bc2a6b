"""Record the fits of tests/golden for this machine: python tests/golden/record_golden.py

An entry of recorded.json holds digests, and the key of what their bits depend on.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import miner

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from golden import Result, read_result, write_inputs
from rows import processor

RECORDED = Path(__file__).with_name("recorded.json")
PER_LEVEL = {"level_selection": "per_level"}
COMMON = {"patch_size": 8, "fitting.max_steps": 20, "image.range": "dtype"} | PER_LEVEL
CASES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "default": ("picture.npy", {}),
    "residual": ("picture.npy", {"pyramid": "laplacian", "readout": "learned", "storage": "int8"}),
    "eager": ("picture.npy", {"backend": "eager", "activation": "gabor", "optimizer": "radam"}),
    "volume": (
        "volume.npy",
        {"image.axes": "CDHW", "weights": "parent_frame", "capacity": "uniform"},
    ),
}


def fit_case(name: str, folder: Path) -> Result:
    """Digests of a fit's tensors and rendering; `folder` must be empty."""
    file, settings = CASES[name]
    write_inputs(folder)
    representation = miner.fit(np.load(folder / file), **COMMON | dict(settings))
    representation.save(folder / name)
    np.save(folder / name / "reconstruction.npy", representation.render())
    return read_result(folder / name)


def machine_key() -> dict[str, str | int]:
    """What the bits of a fit depend on, besides the code."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = sorted({line for line in lines if line.startswith(("flags", "Features"))})
    try:
        compiler = f"ziglang {version('ziglang')}"
    except PackageNotFoundError:
        compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True).stdout
    return {
        "processor": processor(),
        "flags_sha256": hashlib.sha256("\n".join(flags).encode()).hexdigest(),
        "threads": torch.get_num_threads(),
        "compiler": compiler.partition("\n")[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def main() -> None:
    """Add an entry for this machine, or replace it."""
    torch.set_num_threads(1)  # as in the tests
    cases = {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            cases[name] = fit_case(name, Path(folder))
    entries = json.loads(RECORDED.read_text()) if RECORDED.exists() else []
    key = machine_key()
    entries = [entry for entry in entries if entry["key"] != key] + [{"key": key, "cases": cases}]
    RECORDED.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
