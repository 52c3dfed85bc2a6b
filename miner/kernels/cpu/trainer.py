"""The compiled twin of `EagerTrainer`: the same steps, one block at a time on each thread."""

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, StepSettings
from miner.kernels.cpu.compiler import CompilerError, build
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


class Library:
    """A compiled block_step.c."""

    def __init__(self, path: Path) -> None:
        """Load a shared library; a `CompilerError` if the system refuses to."""
        try:
            self._functions = ctypes.CDLL(str(path))
            self._functions.workspace_bytes.restype = ctypes.c_int64
        except (OSError, AttributeError) as error:  # not executable, or damaged
            raise CompilerError(f"{path} cannot be loaded: {error}") from error

    def run(self, work: Work) -> None:
        """Train or render all blocks of `work` on PyTorch's number of threads."""
        n_threads = max(1, min(torch.get_num_threads(), work.n_blocks))
        n_bytes = self._functions.workspace_bytes(ctypes.byref(work))
        next_block = ctypes.c_int64(0)
        work.next = ctypes.addressof(next_block)

        def run_blocks(workspace: Tensor) -> None:
            self._functions.run(ctypes.byref(work), ctypes.c_void_p(workspace.data_ptr()))

        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(run_blocks, torch.empty(n_threads, n_bytes, dtype=torch.uint8)))


@functools.cache
def library(folder: Path | None = None) -> Library:
    """The functions of block_step.c, compiled the first time; or the `CompilerError` of `build`."""
    path = build(SOURCE, folder=folder)
    try:
        return Library(path)
    except CompilerError:  # the file in the cache may be damaged
        path.unlink(missing_ok=True)
        return Library(build(SOURCE, folder=folder))


def check_supported(
    network: BlockNetwork, readout: Readout, settings: StepSettings, device: torch.device
) -> None:
    """Compile; an `UnsupportedError` names a setting, a `CompilerError` says what failed."""
    if settings.batch_pixels is not None:
        raise UnsupportedError(f"fitting.batch_pixels={settings.batch_pixels} draws pixels")
    library()


class CompiledTrainer(RowTrainer):
    """Blocks in training on this machine."""

    def __init__(self, problem: BlockProblem, steps: Library | None = None) -> None:
        """Start from the parameters of a problem; `steps` are by default this machine's."""
        _check_plain(problem.encoded, problem.targets, *problem.start.values())
        super().__init__(problem, RowLayout(problem.network))
        self._library = steps or library()
        self.encoded, self.targets = _tiled(problem.encoded), _tiled(problem.targets)

    def _run(self, n_steps: int, moves: bool) -> None:
        work = Work(
            **self.numbers._asdict(),
            n_blocks=len(self.trained),
            n_pixels=self.n_pixels,
            n_steps=n_steps,
            moves=moves,
            coefficients=self.coefficients[self.step :].data_ptr(),
        )
        for name in _TENSORS:
            setattr(work, name, getattr(self, name).data_ptr())
        self._library.run(work)


trainer_of, layout_of = CompiledTrainer, RowLayout
N_ROWS = 6  # of a block: start, parameters, two moments, the best state, and the result


def block_outputs(network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
    """Values `(B, C, P)` at encoded coordinates `(E, P)`, as `BlockNetwork.outputs` gives them."""
    _check_plain(encoded, *parameters.values())
    rows, tiled = RowLayout(network).rows(parameters), _tiled(encoded)
    outputs = rows.new_empty(len(rows), len(tiled), network.n_channels, _TILE)
    work = Work(
        **NetworkNumbers.of(network, LearnedReadout())._asdict(),  # reads the stored readout
        n_blocks=len(rows),
        n_pixels=encoded.shape[1],
        encoded=tiled.data_ptr(),
        outputs=outputs.data_ptr(),
        trained=rows.data_ptr(),
    )
    library().run(work)
    return outputs.transpose(1, 2).flatten(2)[..., : encoded.shape[1]]


def _check_plain(*tensors: Tensor) -> None:
    """The compiled code sees addresses, not types."""
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        raise TypeError("the compiled steps take float32 tensors on the CPU")


def _tiled(rows: Tensor) -> Tensor:
    """`(..., R, P)` as `(..., tiles, R, _TILE)`, zero beyond the pixels."""
    n_tiles = -(-rows.shape[-1] // _TILE)
    padded = F.pad(rows, (0, n_tiles * _TILE - rows.shape[-1]))
    return padded.reshape(*rows.shape[:-1], n_tiles, _TILE).transpose(-3, -2).contiguous()
