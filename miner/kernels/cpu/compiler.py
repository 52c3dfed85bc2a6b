"""Compile a C source for this machine, once, and keep what came of it in the user's cache."""

import atexit
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

_FLAGS = (
    *("-std=c11", "-O3", "-march=native", "-fPIC", "-shared"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
)


class CompilerError(RuntimeError):
    """There is no C compiler, or it failed; the message says which."""


def build(source: Path) -> Path:
    """A shared library of a C source, from the cache if it is there.

    Its name is a hash of all that it is made from and of the processor, so nothing is ever stale.
    Processes may build at once: the file appears whole. Compilers are tried one after another.

    Raises:
        CompilerError: no compiler is there, or all refused the source.
    """
    reasons = []
    for command, version in compilers():
        parts = [version, _processor(), *_FLAGS]
        parts += [path.read_text() for path in sorted(source.parent.glob("*.[ch]"))]
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
        library = _cache() / f"{source.stem}-{digest}.so"
        try:
            if not library.exists():
                _compile(command, source, library)
            return library
        except OSError as error:  # a full disk, say
            reasons.append(f"{library.parent}: {error}")
        except CompilerError as error:
            reasons.append(str(error))
    raise CompilerError(
        "; ".join(reasons) or "no C compiler was found; pip install ziglang brings one"
    )


def _compile(command: Sequence[str], source: Path, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        fresh = Path(scratch) / library.name
        done = subprocess.run(
            [*command, *_FLAGS, str(source), "-o", str(fresh), "-lm"],
            capture_output=True,
            text=True,
            env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(library.parent / "zig")},
            check=False,
        )
        if done.returncode != 0 or not fresh.exists():
            reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
            raise CompilerError(f"{' '.join(command)} failed: {reason}")
        fresh.replace(library)


@functools.cache
def compilers() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Commands of the C compilers that are there, and their versions.

    The one that pip installed comes first, so that everybody's results come from the same one.
    """
    candidates: list[tuple[str, ...]] = []
    if importlib.util.find_spec("ziglang"):
        candidates.append((sys.executable, "-m", "ziglang", "cc"))
    candidates += [(path,) for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    found = []
    for command in candidates:
        try:
            asked = subprocess.run(
                [*command, "--version"], capture_output=True, text=True, check=False
            )
        except OSError:  # a file of another machine's, say
            continue
        if asked.returncode == 0:
            found.append((command, asked.stdout))
    return tuple(found)


@functools.cache
def _cache() -> Path:
    try:
        folder = Path(platformdirs.user_cache_dir("miner")) / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # no home, or one that cannot be written to
        scratch = Path(tempfile.mkdtemp(prefix="miner-kernels-"))
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        return scratch


@functools.cache
def _processor() -> str:
    """What tells this processor from others: its name and what it can do."""
    named = [platform.machine(), platform.processor()]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "\n".join([*named, platform.platform()])
    kinds = ("model", "flags", "Features", "CPU ")
    return "\n".join([*named, *sorted({line for line in lines if line.startswith(kinds)})])
