"""What rounding costs, and that the layout describes what is stored."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from miner.models.heads import LinearHead, ScaledSineHead
from miner.models.network import Parameters
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage

STORAGES = [Float32Storage(), Float16Storage(), Int8Storage()]
NUMBERS = st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=9)


def round_trip(storage: Storage, numbers: list[float]) -> tuple[Tensor, Tensor]:
    original = torch.tensor([numbers])
    return original, storage.decode(storage.encode({"weight": original}))["weight"]


@given(NUMBERS)
def test_each_storage_rounds_as_it_says(numbers: list[float]) -> None:
    original, decoded = round_trip(Float32Storage(), numbers)
    assert torch.equal(decoded, original)
    _, decoded = round_trip(Float16Storage(), numbers)
    assert bool(((decoded - original).abs() <= 2**-11 * original.abs() + 2**-25).all())
    _, decoded = round_trip(Int8Storage(), numbers)
    step = float(original.abs().max()) / 127 * (1 + 2**-9) + 2**-23
    assert float((decoded - original).abs().max()) <= 0.501 * step


@given(st.floats(0.125, 1000, width=32))
def test_int8_never_clips_the_largest_number(peak: float) -> None:
    _, decoded = round_trip(Int8Storage(), [peak, -peak])
    assert float(decoded.abs().min()) >= peak


def test_int8_scales_each_block_by_itself() -> None:
    weights = torch.tensor([[1.0, -0.5], [1000.0, 3.0]])
    decoded = Int8Storage().decode(Int8Storage().encode({"weight": weights}))["weight"]
    torch.testing.assert_close(decoded[0], weights[0], rtol=0, atol=0.005)


@pytest.mark.parametrize("storage", STORAGES)
def test_zeros_stay_zero_and_what_is_not_finite_stays_so(storage: Storage) -> None:
    assert round_trip(storage, [0.0, 0.0])[1].tolist() == [[0.0, 0.0]]
    for value in (math.inf, math.nan):
        assert not round_trip(storage, [value, 1.0])[1].isfinite().all()


def block_parameters(n_blocks: int) -> Parameters:
    shapes = {"hidden.0.weight": (2, 3), "hidden.0.a": ()} | ScaledSineHead().shapes(3, 1)
    return {name: torch.full((n_blocks, *shape), 0.3) for name, shape in shapes.items()}


@pytest.mark.parametrize("n_blocks", [0, 1, 4])
@pytest.mark.parametrize("storage", STORAGES)
def test_the_layout_describes_what_is_stored(storage: Storage, n_blocks: int) -> None:
    parameters = block_parameters(n_blocks)
    layout = storage.layout({name: tuple(t.shape[1:]) for name, t in parameters.items()})
    stored = storage.encode(parameters)
    expected = {name: (dtype, (n_blocks, *shape)) for name, (dtype, shape) in layout.items()}
    assert {name: (t.dtype, tuple(t.shape)) for name, t in stored.items()} == expected
    torch.testing.assert_close(parameters, block_parameters(n_blocks), rtol=0, atol=0)
    shapes = {name: (torch.float32, tensor.shape) for name, tensor in parameters.items()}
    assert {n: (t.dtype, t.shape) for n, t in storage.decode(stored).items()} == shapes


def test_bytes_of_a_block() -> None:
    shapes = {"hidden.0.weight": (16, 20)} | LinearHead().shapes(20, 3)
    layouts = [s.layout(shapes).values() for s in STORAGES]
    sizes = [sum(d.itemsize * math.prod(shape) for d, shape in layout) for layout in layouts]
    assert sizes == [4 * 383, 2 * 383, 383 + 3 * 2]
    assert Int8Storage().layout({"hidden.0.a": ()}) == {"hidden.0.a": (torch.float16, ())}
