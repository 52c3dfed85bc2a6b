"""The compiled twin of `EagerTrainer`: the same steps, one block at a time on each thread.

The C source is compiled for this machine, once; the library stays in the user's cache.
"""

import atexit
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import platformdirs
import torch
import torch.nn.functional as F
from torch import Tensor

from miner.fitting.readout import LearnedReadout
from miner.fitting.steps import BlockProblem
from miner.kernels.activations import ACTIVATIONS, ActivationOp
from miner.kernels.ops import HEADS, NetworkNumbers, RowLayout, RowTrainer, UnsupportedError
from miner.models.network import BlockNetwork, Parameters


def definitions(table: Sequence[ActivationOp] = ACTIVATIONS) -> tuple[str, str]:
    """Flags that give the C source the table of activations and the names of the heads."""
    rows = [f"ROW({n}, {len(op.of.trained_fields) > 1:d}, {op.c})" for n, op in enumerate(table)]
    one_line = " ".join("".join(rows).split())
    heads = ",".join(head.__name__ for head in HEADS)
    return f"-DACTIVATIONS(ROW)={one_line}", f"-DHEADS={heads}"


SOURCE = Path(__file__).with_name("block_step.c")
FLAGS = (
    *("-std=c11", "-O3", "-march=native", "-fPIC", "-shared"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", *definitions()),
)
_run = functools.partial(subprocess.run, capture_output=True, text=True, timeout=300)  # it may hang
_TILE = 64  # TILE of vectors.h
_TYPES: dict[type, Any] = {int: ctypes.c_int64, bool: ctypes.c_int64, float: ctypes.c_double}
_TENSORS = (  # attributes of a trainer
    *("trained", "first", "second", "best_rows", "bases", "mse", "best_mse"),
    *("encoded", "targets", "training"),
)


class Work(ctypes.Structure):
    """`Work` of layout.h, field by field."""

    _fields_ = [
        *((name, _TYPES[kind]) for name, kind in NetworkNumbers.__annotations__.items()),
        *((name, ctypes.c_int64) for name in ("n_blocks", "n_pixels", "n_steps", "moves")),
        *((name, ctypes.c_void_p) for name in (*_TENSORS, "coefficients", "outputs", "next")),
    ]


def build(source: Path, flags: Sequence[str] = FLAGS, processor: str | None = None) -> Path:
    """A shared library of a C source, from the user's cache if it is there; it appears whole."""
    folder, reasons = cache_folder(), list[str]()
    parts = [processor or describe_processor(), *flags]  # all that it depends on: never stale
    parts += [path.read_text() for path in sorted(source.parent.glob("*.[ch]"))]
    candidates = [[path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    if importlib.util.find_spec("ziglang"):  # pip's comes first, for equal results
        candidates.insert(0, [sys.executable, "-m", "ziglang", "cc"])
    for command in candidates:
        try:
            version = _run([*command, "--version"], check=True).stdout
        except (OSError, subprocess.SubprocessError):  # not for this machine
            continue
        digest = hashlib.sha256("\0".join([version, *parts]).encode()).hexdigest()[:24]
        library = folder / f"{source.stem}-{digest}.so"
        try:
            if not library.exists():
                _compile([*command, *flags, str(source)], library)
            return library
        except OSError as error:  # a full disk, say
            reasons.append(f"{folder}: {error}")
        except UnsupportedError as error:
            reasons.append(f"{' '.join(command)} failed: {error}")
        except subprocess.TimeoutExpired as error:
            reasons.append(f"{' '.join(command)} took longer than {error.timeout:.0f} s")
    missing = "no C compiler was found; pip install ziglang brings one"
    raise UnsupportedError("; ".join(reasons) or missing)


def _compile(command: Sequence[str], library: Path) -> None:
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(library.parent / "zig")}
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        new = Path(scratch) / library.name
        done = _run([*command, "-o", str(new), "-lm"], env=environment, check=False)
        if done.returncode != 0 or not new.exists():
            lines = done.stderr.strip() or f"exit status {done.returncode}"
            raise UnsupportedError(lines.splitlines()[0])
        new.replace(library)


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
    info, kinds = Path("/proc/cpuinfo"), ("model", "flags", "Features", "CPU ")
    lines = {platform.processor(), platform.platform()}
    if info.exists():
        lines = {line for line in info.read_text().splitlines() if line.startswith(kinds)}
    return "\n".join([platform.machine(), *sorted(lines)])


def load(path: Path) -> ctypes.CDLL:
    """The functions of a compiled block_step.c; or an `UnsupportedError`."""
    try:
        functions = ctypes.CDLL(str(path))
        functions.workspace_bytes.restype = functions.bases_floats.restype = ctypes.c_int64
    except (OSError, AttributeError) as error:  # not executable, or damaged
        raise UnsupportedError(f"{path} cannot be loaded: {error}; delete it") from error
    return functions


@functools.cache
def library() -> ctypes.CDLL:
    """Those of block_step.c, compiled the first time."""
    return load(build(SOURCE))


def run(functions: ctypes.CDLL, tensors: Mapping[str, Tensor], **numbers: int | float) -> None:
    """Train or render all blocks on PyTorch's number of threads; arguments are fields of `Work`."""
    addresses = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    next_block, n_blocks = ctypes.c_int64(0), len(tensors["trained"])
    work = Work(**numbers, **addresses, n_blocks=n_blocks, next=ctypes.addressof(next_block))
    n_threads = max(1, min(torch.get_num_threads(), n_blocks))
    n_bytes = functions.workspace_bytes(ctypes.byref(work))
    if n_bytes == 0:
        raise UnsupportedError(f"activation {numbers['activation']} is not in the library")

    def run_blocks(workspace: Tensor) -> None:
        functions.run(ctypes.byref(work), ctypes.c_void_p(workspace.data_ptr()))

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(run_blocks, torch.empty(n_threads, n_bytes, dtype=torch.uint8)))


class CompiledTrainer(RowTrainer):
    """Blocks in training on this machine."""

    n_rows = 12  # start, parameters, two moments, the best state, the result, and some for `bases`
    layout_of = RowLayout

    def __init__(self, problem: BlockProblem, functions: ctypes.CDLL | None = None) -> None:
        """Start from the parameters of a problem; `functions` are by default this machine's."""
        if (n_drawn := problem.steps.batch_pixels) is not None:
            raise UnsupportedError(f"fitting.batch_pixels={n_drawn} draws pixels")
        _check_plain(problem.encoded, problem.targets, *problem.start.values())
        super().__init__(problem)
        self._functions = functions or library()
        self.encoded, self.targets = _tiled(problem.encoded), _tiled(problem.targets)
        work = Work(**self.numbers._asdict())
        n_floats = self._functions.bases_floats(ctypes.byref(work)) if self.has_bases else 0
        self.bases = torch.zeros(len(self.trained), n_floats)

    def _run(self, n_steps: int, moves: bool) -> None:
        tensors = {name: getattr(self, name) for name in _TENSORS}
        tensors["coefficients"] = self.coefficients[self.step :]
        sizes = {"n_pixels": self.n_pixels, "n_steps": n_steps, "moves": moves}
        run(self._functions, tensors, **self.numbers._asdict(), **sizes)

    @staticmethod
    def outputs(network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
        """As `BlockNetwork.outputs`, in the order of the steps."""
        _check_plain(encoded, *parameters.values())
        rows, tiled, n_pixels = RowLayout(network).rows(parameters), _tiled(encoded), len(encoded.T)
        outputs = rows.new_empty(len(rows), len(tiled), network.n_channels, _TILE)
        numbers = NetworkNumbers.of(network, LearnedReadout())  # reads the stored readout
        tensors = {"trained": rows, "encoded": tiled, "outputs": outputs}
        run(library(), tensors, **numbers._asdict(), n_pixels=n_pixels)
        return outputs.transpose(1, 2).flatten(2)[..., :n_pixels]


def _check_plain(*tensors: Tensor) -> None:
    """The compiled code sees addresses, not types."""
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        raise TypeError("the compiled steps take float32 tensors on the CPU")


def _tiled(rows: Tensor) -> Tensor:
    """`(..., R, P)` as `(..., tiles, R, _TILE)`, zero beyond the pixels."""
    n_tiles = -(-rows.shape[-1] // _TILE)
    padded = F.pad(rows, (0, n_tiles * _TILE - rows.shape[-1]))
    return padded.reshape(*rows.shape[:-1], n_tiles, _TILE).transpose(-3, -2).contiguous()
