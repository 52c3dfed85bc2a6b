"""The same fit on a GPU as on the CPU, wherever signals are stored and however little memory."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from block_problems import fit_levels, flat_and_busy, noise, stored
from kernel_problems import SETTINGS
from torch import Tensor

import miner
from miner.api import compose_settings
from miner.config.build import build_settings
from miner.fitting.pyramid_fit import PyramidFit, make_spec, prepare_backend
from miner.images.pixel_format import PixelFormat
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal, SourceSignal
from miner.signals.store import HELD_ON_DEVICE, LocalSignalStore

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

GPU = torch.device("cuda")


def fit_on_gpu(
    signal: Tensor,
    held_bytes: int = HELD_ON_DEVICE,
    n_threads: int | None = None,
    **changes: Any,
) -> PyramidFit:
    settings = build_settings(compose_settings(SETTINGS | changes))
    pixel_format = PixelFormat.of_values("float32", signal.shape[0])
    spec = make_spec(tuple(signal.shape[1:]), pixel_format, settings)
    store = LocalSignalStore(GPU, Scratch(None), held_bytes)
    settings = prepare_backend(settings, spec, GPU)
    return PyramidFit(ArraySignal(signal.numpy()), spec, settings, store, n_threads=n_threads)


@pytest.mark.parametrize("readout", ["closed_form", "learned"])
def test_a_gpu_fits_as_well_as_the_cpu(readout: str) -> None:
    image = noise(3, 40, 52)
    settings = {"patch_size": 16, "readout": readout, "fitting.max_steps": 30}
    settings["image.range"] = "dtype"
    errors = [
        (miner.fit(image, device=device, **settings).reconstruct().cpu() - image).square().mean()
        for device in ("cpu", "cuda")
    ]
    assert 10 * abs(float(torch.log10(errors[0] / errors[1]))) < 0.5


def test_an_image_is_held_on_the_device() -> None:
    kinds = [type(signal) for signal in fit_on_gpu(noise(1, 40, 52)).signals]
    assert kinds == [ArraySignal, ArraySignal]  # not a SourceSignal, which uploads at every read


def test_uploaded_signals_give_the_fit_of_those_held_on_the_device() -> None:
    signal = flat_and_busy(40, 2100)  # wider than the tiles that are uploaded
    held = stored(fit_levels(fit_on_gpu(signal)))
    uploaded = fit_on_gpu(signal, held_bytes=0)
    assert isinstance(uploaded.signals[0], SourceSignal)
    assert all(map(torch.equal, stored(fit_levels(uploaded)), held))


def test_streams_do_not_change_a_bit() -> None:
    """Groups of several widths are fitted at the same time, each in a stream."""
    signal = flat_and_busy(90, 170)
    changes = {"capacity": "target_error", "capacity.probe_steps": 5, "fitting.max_steps": 30}
    parallel = [stored(fit_levels(fit_on_gpu(signal, **changes))) for _ in range(3)]
    alone = stored(fit_levels(fit_on_gpu(signal, n_threads=1, **changes)))
    assert all(all(map(torch.equal, found, alone)) for found in parallel)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """256 MiB more than are reserved already: cuBLAS alone takes 64 of them."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(GPU).total_memory
    allowed = torch.cuda.memory_reserved(GPU) + 2**28
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_fit_continues_when_memory_runs_out(
    little_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"backend": "eager", "model.width": 24, "pyramid.n_levels": 1}
    level = fit_on_gpu(noise(1, 1024, 1024), **changes).start_level(0)
    with caplog.at_level(logging.WARNING, "miner.fitting.device"):
        shard = level.fit_chunk(0)
    assert "do not fit into memory" in caplog.text
    assert len(shard.blocks) == len(level.chunks[0])
