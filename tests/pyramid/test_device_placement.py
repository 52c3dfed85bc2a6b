"""On another device everything about pixels happens there, with the bits of the CPU."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from fake_device import FAKE, FakeDevice, values
from torch import Tensor

from miner.pyramids.prediction import ExpandedSignal, ZeroSignal, predict
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.pyramids.resample import expand, reduce
from miner.signals.grid import PatchGrid
from miner.signals.regions import whole
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal, Signal, TensorSignal, UploadedSignal
from miner.signals.store import LocalSignalStore

GRID = PatchGrid((21, 34), 8)
BLOCKS = torch.tensor([3, 0, 14])
REGION = ((3, 17), (8, 33))
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "reduce": reduce,
    "expand": lambda signal: expand(signal, (41, 68)),
    "predict": lambda signal: predict(signal, (2, 5), ((5, 30), (11, 70))),
    "tiled": GRID.tiled,
    "joined": lambda signal: GRID.joined(GRID.tiled(signal)),
    "cut": lambda signal: GRID.cut(signal, BLOCKS),
    "no cut": lambda signal: GRID.cut(signal, BLOCKS[:0]),
    "block_means": GRID.block_means,
}


def signal() -> Tensor:
    return torch.rand(2, 21, 34, generator=torch.Generator().manual_seed(0))


def test_the_fake_device_sees_what_is_mixed_and_what_waits() -> None:
    with FakeDevice() as device:
        there = signal().to(FAKE)
        for mixed in (lambda: there + signal(), lambda: there[:, BLOCKS]):
            with pytest.raises(RuntimeError, match="two devices"):
                mixed()
        assert device.n_waits == 0
        for wait in (there.cpu, lambda: float(there.sum()), lambda: there[there > 0.5]):
            before = device.n_waits
            wait()
            assert device.n_waits > before


@pytest.mark.parametrize("name", OPERATIONS)
def test_signals_stay_on_their_device(name: str) -> None:
    expected = OPERATIONS[name](signal())
    with FakeDevice() as device:
        found = OPERATIONS[name](signal().to(FAKE))
    assert torch.equal(values(found), expected)
    assert device.n_waits == 0


@pytest.mark.parametrize("pyramid", [GaussianPyramid(), LaplacianPyramid()])
def test_targets_stay_on_their_device(pyramid: Pyramid) -> None:
    with FakeDevice():
        there = signal().to(FAKE)
        target = pyramid.target(there, 0.5 * there)
        merged = pyramid.merge(0.5 * there, target)
    torch.testing.assert_close(values(merged), signal())


def signals() -> dict[str, Signal]:
    array = signal().numpy()
    return {
        "array": ArraySignal(array, FAKE),
        "tensor": TensorSignal(signal().to(FAKE)),
        "uploaded": UploadedSignal(ArraySignal(array), FAKE),
    }


@pytest.mark.parametrize("kind", ["array", "tensor", "uploaded"])
def test_a_region_is_read_to_the_device(kind: str) -> None:
    expected = ArraySignal(signal().numpy()).read(REGION)
    with FakeDevice():
        found = signals()[kind].read(REGION)
    assert torch.equal(values(found), expected)


@pytest.mark.parametrize("kind", ["array", "tensor", "uploaded"])
def test_a_prediction_lies_where_the_coarser_level_does(kind: str) -> None:
    expected = expand(signal(), (42, 67))
    with FakeDevice():
        image_signal = ExpandedSignal(signals()[kind], (42, 67))
        assert image_signal.device == FAKE
        found = image_signal.read(whole((42, 67)))
    assert torch.equal(values(found), expected)


def test_nothing_is_known_on_the_device() -> None:
    with FakeDevice():
        found = ZeroSignal(3, (9, 8), FAKE).read(((2, 4), (0, 8)))
    assert values(found).shape == (3, 2, 8)


def test_what_a_tensor_raster_gives_is_nobody_elses() -> None:
    image_signal = TensorSignal(torch.ones(1, 4, 4))
    image_signal.read(((0, 4), (0, 4))).zero_()
    assert bool(image_signal.read(((0, 4), (0, 4))).all())


@pytest.mark.parametrize("held_bytes", [0, 2**20])
def test_what_is_written_is_read(held_bytes: int) -> None:
    with FakeDevice():
        image_signal = LocalSignalStore(FAKE, Scratch(None), held_bytes).new(
            "one", 2, (21, 34)
        )
        image_signal.write(whole((21, 34)), signal().to(FAKE))
        found = image_signal.read(REGION)
    assert torch.equal(values(found), ArraySignal(signal().numpy()).read(REGION))


def kinds(signal_store: LocalSignalStore, *names: str) -> list[type]:
    """What signals of 100 bytes become."""
    return [type(signal_store.new(name, 1, (5, 5))) for name in names]


def test_signals_are_held_while_they_fit() -> None:
    with FakeDevice():
        signal_store = LocalSignalStore(FAKE, Scratch(None), held_bytes=250)
        assert kinds(signal_store, "a", "b", "c") == [TensorSignal, TensorSignal, ArraySignal]
        signal_store.remove("c")  # which takes nothing on the device
        assert kinds(signal_store, "d") == [ArraySignal]
        signal_store.remove("a")
        assert kinds(signal_store, "e", "f") == [TensorSignal, ArraySignal]


def test_on_the_cpu_signals_lie_in_scratch() -> None:
    assert kinds(LocalSignalStore(torch.device("cpu"), Scratch(None)), "a") == [ArraySignal]


@pytest.mark.parametrize(("held_bytes", "kind"), [(0, UploadedSignal), (2**20, TensorSignal)])
def test_an_image_is_brought_once_if_it_fits(
    monkeypatch: pytest.MonkeyPatch, held_bytes: int, kind: type
) -> None:
    monkeypatch.setattr("miner.signals.regions.DEVICE_TILE_SIDE", 8)
    image = ArraySignal(signal().numpy())
    with FakeDevice():
        to_device = LocalSignalStore(FAKE, Scratch(None), held_bytes).to_device("image", image)
        found = to_device.read(REGION)
    assert isinstance(to_device, kind)
    assert torch.equal(values(found), image.read(REGION))


def test_an_image_that_is_there_is_not_copied() -> None:
    image = ArraySignal(np.zeros((1, 5, 5), np.float32))
    assert LocalSignalStore(torch.device("cpu"), Scratch(None)).to_device("image", image) is image
