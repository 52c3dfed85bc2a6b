"""Encodings against their formulas, one coordinate at a time."""

import math

import pytest
import torch

from miner.models.encodings import CosineEncoding, Encoding, NoEncoding, PositionalEncoding

ENCODINGS = [NoEncoding(), PositionalEncoding(3), CosineEncoding(5)]
POINT = torch.tensor([[0.5], [-0.25]], dtype=torch.float64)


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_number_of_outputs_is_as_announced_and_the_precision_stays(
    encoding: Encoding, n_axes: int
) -> None:
    encoded = encoding(torch.zeros(n_axes, 7, dtype=torch.float64))
    assert encoded.shape == (encoding.n_outputs(n_axes), 7)
    assert encoded.dtype == torch.float64


def test_no_encoding_gives_coordinates_back() -> None:
    assert torch.equal(NoEncoding()(POINT), POINT)


@pytest.mark.parametrize("scale", [1.0, math.pi / 2])
def test_positional_encoding_is_sines_then_cosines_of_octaves(scale: float) -> None:
    phases = [scale * 2**i * x for i in range(3) for x in (0.5, -0.25)]
    expected = [math.sin(phase) for phase in phases] + [math.cos(phase) for phase in phases]
    encoded = PositionalEncoding(3, scale)(POINT).flatten()
    assert encoded.tolist() == pytest.approx(expected, abs=1e-15)


def test_cosine_encoding_is_the_cosine_transform_of_each_axis() -> None:
    expected = [math.cos(k * math.pi * (x + 1) / 2) for k in range(1, 6) for x in (0.5, -0.25)]
    assert CosineEncoding(5)(POINT).flatten().tolist() == pytest.approx(expected, abs=1e-15)


def test_cosines_are_orthogonal_over_a_patch() -> None:
    centres = (torch.arange(8, dtype=torch.float64) + 0.5) / 4 - 1
    encoded = CosineEncoding(7)(centres[None])
    torch.testing.assert_close(encoded @ encoded.T, 4 * torch.eye(7, dtype=torch.float64))
