"""Compile a C source for this machine, once, and keep what came of it in the user's cache."""

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
    Processes may build at once: the file appears whole.

    Raises:
        CompilerError: no compiler is there, or it refused the source.
    """
    command, version = compiler()
    parts = [version, _processor(), *_FLAGS]
    parts += [path.read_text() for path in sorted(source.parent.glob("*.[ch]"))]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
    folder = _cache()
    library = folder / f"{source.stem}-{digest}.so"
    if not library.exists():
        try:
            _compile(command, source, library)
        except OSError as error:  # a full disk, say
            raise CompilerError(f"{folder}: {error}") from error
    return library


def _compile(command: Sequence[str], source: Path, library: Path) -> None:
    folder = library.parent
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / library.name
        done = subprocess.run(
            [*command, *_FLAGS, str(source), "-o", str(fresh), "-lm"],
            capture_output=True,
            text=True,
            env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(folder / "zig")},
            check=False,
        )
        if done.returncode != 0 or not fresh.exists():
            reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0]
            raise CompilerError(f"{' '.join(command)} failed: {reason}")
        fresh.replace(library)


@functools.cache
def compiler() -> tuple[tuple[str, ...], str]:
    """The command of a C compiler, and its version.

    The one that pip installed comes first, so that everybody's results come from the same one.

    Raises:
        CompilerError: there is none.
    """
    candidates: list[tuple[str, ...]] = []
    if importlib.util.find_spec("ziglang"):
        candidates.append((sys.executable, "-m", "ziglang", "cc"))
    candidates += [(path,) for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    for command in candidates:
        asked = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            return command, asked.stdout
    raise CompilerError("no C compiler was found; pip install ziglang brings one")


@functools.cache
def _cache() -> Path:
    folder = Path(platformdirs.user_cache_dir("miner")) / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:  # a home that cannot be written to: build anew for this process
        return Path(tempfile.mkdtemp(prefix="miner-kernels-"))


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model", "flags"))}))
    except OSError:
        return platform.platform() + platform.processor()
