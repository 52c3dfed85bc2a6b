"""The compiled twin of `EagerTrainer`: the same steps, one block at a time on each thread."""

import ctypes
import functools
import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from miner.fitting.criteria import LogMSELoss
from miner.fitting.readout import LearnedReadout, Readout
from miner.fitting.steps import BlockProblem, BlockTrainer, CompactingTrainer, StepSettings
from miner.kernels import ops
from miner.kernels.cpu.compiler import CompilerError, build
from miner.models.heads import AMPLITUDE
from miner.models.network import BlockNetwork, Parameters

SOURCE = Path(__file__).with_name("block_step.c")
_TILE = 64  # TILE of vectors.h
_INTEGERS = (
    *("inputs", "width", "depth", "channels", "activation", "head", "solved"),
    *("n_blocks", "n_pixels", "n_steps", "evaluates_last", "log_loss"),
)
_NUMBERS = ("omega", "floor", "ridge")
_ARRAYS = (
    *("encoded", "targets", "outputs", "coefficients", "amplitude"),
    *("trained", "first", "second", "best", "mse", "best_mse", "next"),
)


class Work(ctypes.Structure):
    """`Work` of layout.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in _INTEGERS),
        *((name, ctypes.c_double) for name in _NUMBERS),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
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
        raise ops.UnsupportedError(f"fitting.batch_pixels={settings.batch_pixels} draws pixels")
    ops.check_formulas(settings)
    ops.NetworkNumbers.of(network, readout)
    library()


def trainer_of(problem: BlockProblem) -> BlockTrainer:
    """Blocks in training on this machine."""
    return CompactingTrainer(CompiledTrainer(problem))


def state_numbers(network: BlockNetwork) -> int:
    """Numbers of a block: parameters, two moments, the best state, and a copy by gathering."""
    return 6 * network.n_parameters


class CompiledTrainer:
    """Blocks in training: rows of `trained` parameters, `first` and `second` moments."""

    def __init__(self, problem: BlockProblem, steps: Library | None = None) -> None:
        """Start from the parameters of a problem; `steps` are by default this machine's."""
        network, readout, self._settings, encoded, targets, start = problem
        _check_plain(encoded, targets, *start.values())
        self._library = steps or library()
        self._numbers = ops.NetworkNumbers.of(network, readout)
        self.step = 0
        self._n_pixels = targets.shape[-1]
        self._shapes = {n: s for n, s in network.shapes().items() if n != AMPLITUDE}
        self.encoded, self.targets = _tiled(encoded), _tiled(targets)
        amplitude = (readout.constants(targets, start) | start).get(AMPLITUDE)
        self.amplitude = None if amplitude is None else amplitude.contiguous()
        names = network.mlp.shapes() if self._numbers.solved else self._shapes
        self.trained = _rows(start, names)
        self.first, self.second = torch.zeros_like(self.trained), torch.zeros_like(self.trained)
        self.mse = self.best_mse = targets.new_full((len(targets),), torch.inf)
        n_stored = sum(map(math.prod, self._shapes.values()))
        self._best = targets.new_zeros(len(targets), n_stored)
        self._best[:, : self.trained.shape[1]] = self.trained

    @property
    def best(self) -> Parameters:
        """The best state of every block, `(B, ...)`."""
        best, at = {}, 0
        for name, shape in self._shapes.items():
            n = math.prod(shape)
            best[name] = self._best[:, at : at + n].reshape(len(self._best), *shape)
            at += n
        return best if self.amplitude is None else best | {AMPLITUDE: self.amplitude}

    def advance(self, n_steps: int) -> None:
        """Take steps; each first evaluates the state that it changes."""
        steps = range(self.step, self.step + n_steps)
        self._run(ops.coefficients_of(self._settings, steps))
        self.step += n_steps

    def evaluate(self) -> None:
        """Evaluate the present state, unless the one before the last step suffices."""
        if self.step == self._settings.n_steps:
            self._run(torch.empty(0), evaluates_last=True)

    def compact(self, index: Tensor) -> None:
        """Leave all blocks but `index` out of the computation."""
        self.targets, self.trained = self.targets[index], self.trained[index]
        self.first, self.second = self.first[index], self.second[index]
        self.mse, self.best_mse = self.mse[index], self.best_mse[index]
        self._best = self._best[index]
        if self.amplitude is not None:
            self.amplitude = self.amplitude[index]

    def _run(self, coefficients: Tensor, evaluates_last: bool = False) -> None:
        self.mse, self.best_mse = self.mse.clone(), self.best_mse.clone()  # callers hold the old
        loss = self._settings.loss
        work = Work(
            **self._numbers._asdict(),
            n_blocks=len(self.trained),
            n_pixels=self._n_pixels,
            n_steps=len(coefficients),
            evaluates_last=evaluates_last,
            log_loss=isinstance(loss, LogMSELoss),
            floor=loss.floor if isinstance(loss, LogMSELoss) else 0.0,
            coefficients=coefficients.data_ptr(),
            best=self._best.data_ptr(),
        )
        for name in ("encoded", "targets", "trained", "first", "second", "mse", "best_mse"):
            setattr(work, name, getattr(self, name).data_ptr())
        if self.amplitude is not None:
            work.amplitude = self.amplitude.data_ptr()
        self._library.run(work)


def block_outputs(network: BlockNetwork, parameters: Parameters, encoded: Tensor) -> Tensor:
    """Values `(B, C, P)` at encoded coordinates `(E, P)`, as `BlockNetwork.outputs` gives them."""
    _check_plain(encoded, *parameters.values())
    rows = _rows(parameters, [name for name in network.shapes() if name != AMPLITUDE])
    tiled = _tiled(encoded)
    outputs = rows.new_empty(len(rows), len(tiled), network.n_channels, _TILE)
    amplitude = parameters.get(AMPLITUDE, rows[:0]).contiguous()
    numbers = ops.NetworkNumbers.of(network, LearnedReadout())  # reads the stored readout
    work = Work(
        **numbers._asdict(),
        n_blocks=len(rows),
        n_pixels=encoded.shape[1],
        encoded=tiled.data_ptr(),
        outputs=outputs.data_ptr(),
        trained=rows.data_ptr(),
        amplitude=amplitude.data_ptr(),
    )
    library().run(work)
    return outputs.transpose(1, 2).flatten(2)[..., : encoded.shape[1]]


def _check_plain(*tensors: Tensor) -> None:
    """The compiled code sees addresses, not types."""
    if any(tensor.dtype != torch.float32 or tensor.device.type != "cpu" for tensor in tensors):
        raise TypeError("the compiled steps take float32 tensors on the CPU")


def _rows(parameters: Parameters, names: Iterable[str]) -> Tensor:
    rows = [parameters[name].reshape(len(parameters[name]), -1) for name in names]
    return torch.cat(rows, dim=1)


def _tiled(rows: Tensor) -> Tensor:
    """`(..., R, P)` as `(..., tiles, R, _TILE)`, zero beyond the pixels."""
    n_tiles = -(-rows.shape[-1] // _TILE)
    padded = F.pad(rows, (0, n_tiles * _TILE - rows.shape[-1]))
    return padded.reshape(*rows.shape[:-1], n_tiles, _TILE).transpose(-3, -2).contiguous()
