"""The compiled twin of `EagerTrainer`: the same steps, one block at a time on each thread."""

import ctypes
import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from miner.fitting.readout import LearnedReadout
from miner.fitting.steps import BlockProblem
from miner.kernels.cpu.compiler import build
from miner.kernels.ops import NetworkNumbers, RowLayout, RowTrainer, UnsupportedError
from miner.models.network import BlockNetwork, Parameters

SOURCE = Path(__file__).with_name("block_step.c")
_TILE = 64  # TILE of vectors.h
_TYPES: dict[type, Any] = {int: ctypes.c_int64, bool: ctypes.c_int64, float: ctypes.c_double}
_TENSORS = (  # attributes of a trainer
    *("trained", "first", "second", "best_rows", "mse", "best_mse"),
    *("encoded", "targets", "training"),
)


class Work(ctypes.Structure):
    """`Work` of layout.h, field by field."""

    _fields_ = [
        *((name, _TYPES[kind]) for name, kind in NetworkNumbers.__annotations__.items()),
        *((name, ctypes.c_int64) for name in ("n_blocks", "n_pixels", "n_steps", "moves")),
        *((name, ctypes.c_void_p) for name in (*_TENSORS, "coefficients", "outputs", "next")),
    ]


def load(path: Path) -> ctypes.CDLL:
    """The functions of a compiled block_step.c; or an `UnsupportedError`."""
    try:
        functions = ctypes.CDLL(str(path))
        functions.workspace_bytes.restype = ctypes.c_int64
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

    def run_blocks(workspace: Tensor) -> None:
        functions.run(ctypes.byref(work), ctypes.c_void_p(workspace.data_ptr()))

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(run_blocks, torch.empty(n_threads, n_bytes, dtype=torch.uint8)))


class CompiledTrainer(RowTrainer):
    """Blocks in training on this machine."""

    n_rows = 6  # start, parameters, two moments, the best state, and the result
    layout_of = RowLayout

    def __init__(self, problem: BlockProblem, functions: ctypes.CDLL | None = None) -> None:
        """Start from the parameters of a problem; `functions` are by default this machine's."""
        if (n_drawn := problem.steps.batch_pixels) is not None:
            raise UnsupportedError(f"fitting.batch_pixels={n_drawn} draws pixels")
        _check_plain(problem.encoded, problem.targets, *problem.start.values())
        super().__init__(problem)
        self._functions = functions or library()
        self.encoded, self.targets = _tiled(problem.encoded), _tiled(problem.targets)

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
