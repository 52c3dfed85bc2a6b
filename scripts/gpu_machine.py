"""Which machine the GPU benchmark ran on."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch
from rows import Value, provenance

PACKAGES = ("torch", "triton", "pytorch-lightning", "numpy")
QUERIES = ("name", "driver_version", "memory.total", "clocks.sm", "clocks.mem")


def origin(command: str, commit: str | None, device: torch.device) -> dict[str, Value]:
    """Where and how rows were measured; `commit` None is what git says."""
    found = provenance(command)
    if device.type == "cuda":
        gpu = f"{torch.cuda.get_device_name(device)}, driver {_asked('driver_version')}"
        found["hardware"] = f"{gpu}, torch {torch.__version__}, {_cores()} cores"
    return found | {"commit": commit or found["commit"]}


def described(device: torch.device) -> str:
    """GPU, driver and versions, in a few lines."""
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    lines = [f"Python {platform.python_version()}, {packages}, {_cores()} cores"]
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        size = f"{found.total_memory / 2**30:.0f} GiB, L2 {found.L2_cache_size / 2**20:.0f} MiB"
        lines.append(f"{found.multi_processor_count} multiprocessors, {size}")
        lines.append(_asked(*QUERIES))
    return "\n".join(lines)


def _asked(*queries: str) -> str:
    """What the driver says of the first GPU."""
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    command = ["nvidia-smi", f"--query-gpu={','.join(queries)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout.splitlines() or ["unknown"])[0]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"
