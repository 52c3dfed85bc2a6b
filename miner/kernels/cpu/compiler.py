"""Compile a C source for this machine, once, and keep the library in the user's cache."""

import atexit
import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import platformdirs

from miner.kernels.ops import UnsupportedError

FLAGS = (
    *("-std=c11", "-O3", "-march=native", "-fPIC", "-shared"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)


def build(source: Path, flags: Sequence[str] = FLAGS, processor: str | None = None) -> Path:
    """A shared library of a C source, from the user's cache if it is there; it appears whole."""
    folder, processor = cache_folder(), processor or describe_processor()
    reasons = []
    for command, version in find_compilers():
        parts = [version, processor, *flags]  # all that it depends on, so that it is never stale
        parts += [path.read_text() for path in sorted(source.parent.glob("*.[ch]"))]
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        library = folder / f"{source.stem}-{digest}.so"
        try:
            if not library.exists():
                _compile([*command, *flags], source, library)
            return library
        except OSError as error:  # a full disk, say
            reasons.append(f"{folder}: {error}")
        except UnsupportedError as error:
            reasons.append(f"{' '.join(command)} failed: {error}")
    missing = "no C compiler was found; pip install ziglang brings one"
    raise UnsupportedError("; ".join(reasons) or missing)


def _compile(command: Sequence[str], source: Path, library: Path) -> None:
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(library.parent / "zig")}
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        new = Path(scratch) / library.name
        line = [*command, str(source), "-o", str(new), "-lm"]
        done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
        if done.returncode != 0 or not new.exists():
            lines = done.stderr.strip() or f"exit status {done.returncode}"
            raise UnsupportedError(lines.splitlines()[0])
        new.replace(library)


def find_compilers() -> list[tuple[Sequence[str], str]]:
    """Commands of the C compilers with their versions; pip's comes first, for equal results."""
    candidates = [[path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    if importlib.util.find_spec("ziglang"):
        candidates.insert(0, [sys.executable, "-m", "ziglang", "cc"])
    found: list[tuple[Sequence[str], str]] = []
    for command in candidates:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # not for this machine
            version = [*command, "--version"]
            done = subprocess.run(version, capture_output=True, text=True, check=True)
            found.append((command, done.stdout))
    return found


@functools.cache
def cache_folder() -> Path:
    """The user's cache of libraries, or a temporary folder if it cannot be written to."""
    try:
        folder = Path(platformdirs.user_cache_dir("miner")) / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # there may be no home folder
        scratch = Path(tempfile.mkdtemp(prefix="miner-kernels-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        return scratch


def describe_processor() -> str:
    """What distinguishes this processor from others: its name and its instructions."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return "\n".join([platform.machine(), platform.processor(), platform.platform()])
    kinds = ("model", "flags", "Features", "CPU ")
    lines = {line for line in info.read_text().splitlines() if line.startswith(kinds)}
    return "\n".join([platform.machine(), *sorted(lines)])
