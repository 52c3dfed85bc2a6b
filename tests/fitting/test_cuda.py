"""The same fit on a GPU as on the CPU, wherever signals lie and however much memory there is."""

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from problems import fitter, noise
from torch import Tensor
from whole_fits import flat_and_busy, stored

import miner
from miner.fitting.backend import EagerBackend
from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.pyramid_fit import PyramidFit, fit_pyramid
from miner.kernels.backend import CompiledBackend
from miner.pyramids.pyramid import LaplacianPyramid
from miner.signals.scratch import Scratch
from miner.signals.signal import TensorSignal, UploadedSignal
from miner.signals.store import HELD_ON_DEVICE, LocalSignalStore

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

GPU = torch.device("cuda")
BY_NEED = TargetErrorCapacity(probe_steps=5, features_per_db=4.4)


def fitter_there(signal: Tensor, held_bytes: int = HELD_ON_DEVICE, **changes: Any) -> PyramidFit:
    template = fitter(signal, **{"backend": CompiledBackend()} | changes)
    signals, spec, settings = template.signals, template.spec, template.settings
    return PyramidFit(signals[0], spec, settings, LocalSignalStore(GPU, Scratch(None), held_bytes))


def fit_there(signal: Tensor, **changes: Any) -> list[Tensor]:
    """All that a fit on the GPU stores."""
    return stored(fit_pyramid(fitter_there(signal, **changes)))


@pytest.mark.parametrize("readout", ["closed_form", "learned"])
def test_a_gpu_fits_as_well_as_the_cpu(readout: str) -> None:
    image = np.random.default_rng(0).random((3, 40, 52), dtype=np.float32)
    settings = {"patch_size": 16, "readout": readout, "fitting": {"max_steps": 30}}
    errors = [
        np.square(miner.fit(image, device=device, **settings).render() - image).mean()
        for device in ("cpu", "cuda")
    ]
    assert 10 * abs(np.log10(errors[0] / errors[1])) < 0.5


def test_an_image_is_held_where_it_is_fitted() -> None:
    kinds = [type(signal) for signal in fitter_there(noise(1, 40, 52)).signals]
    assert kinds == [TensorSignal, TensorSignal]


def test_signals_that_are_uploaded_give_the_fit_of_those_that_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signal = flat_and_busy(90, 70)
    changes: dict[str, Any] = {"pyramid": LaplacianPyramid(3), "max_steps": 12}
    held = fit_there(signal, **changes)
    monkeypatch.setattr("miner.signals.regions.DEVICE_TILE_SIDE", 32)
    changes["held_bytes"] = 0
    assert isinstance(fitter_there(signal, **changes).signals[0], UploadedSignal)
    assert all(map(torch.equal, fit_there(signal, **changes), held))


def test_groups_side_by_side_have_the_bits_of_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signal, changes = flat_and_busy(90, 170), {"capacity": BY_NEED, "max_steps": 30}
    together = [fit_there(signal, **changes) for _ in range(3)]
    for module in ("device", "level_fit"):
        monkeypatch.setattr(f"miner.fitting.{module}.n_side_by_side", lambda device, n: 1)
    alone = fit_there(signal, **changes)
    assert all(all(map(torch.equal, found, alone)) for found in together)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """64 MiB more than are taken already."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    allowed = torch.cuda.memory_reserved(GPU) + 2**26
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_fit_goes_on_where_memory_runs_out(
    little_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    signal, told = noise(1, 512, 512), []
    running = fitter_there(
        signal, backend=EagerBackend(), width=24, max_steps=10, pyramid=LaplacianPyramid(1)
    )
    level = running.start_level(0)
    with caplog.at_level(logging.WARNING, "miner.fitting.device"):
        shard = level.fit_chunk(0, told.append)
    assert "do not fit into memory" in caplog.text
    assert sum(told) == len(level.chunks[0]) * level.n_steps
    assert len(shard.blocks) == len(level.chunks[0])
