"""Batched networks against one `nn.Sequential` for each block, encodings, parameters of blocks."""

import math
from collections.abc import Callable

import pytest
import torch
from block_problems import ACTIVATIONS
from torch import Tensor, nn

from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren
from miner.models.encodings import CosineEncoding, Encoding, NoEncoding, PositionalEncoding
from miner.models.heads import Head, LinearHead, ScaledSineHead, SigmoidHead
from miner.models.network import (
    BlockMLP,
    BlockNetwork,
    Parameters,
    concatenate,
    repeat,
    select,
    where,
)
from miner.signals.grid import coordinates

N_BLOCKS, WIDTH = 3, 4
ENCODINGS = [NoEncoding(), PositionalEncoding(2), CosineEncoding(3)]

FORMULAS: dict[type[Activation], Callable[..., Tensor]] = {
    Gaussian: lambda z, a: (-(z**2) / (2 * a**2)).exp(),
    Sine: lambda z, a: (z / a).sin(),
    Siren: lambda z: (30 * z).sin(),
    ReLU: lambda z: z.clamp(min=0),
    Gabor: lambda z, omega, s: (omega * z).cos() * (-((s * z) ** 2)).exp(),
    Finer: lambda z, a: (((z / a).abs() + 1) * (z / a)).sin(),
}


def name_of(component: object) -> str:
    return type(component).__name__


class Nonlinearity(nn.Module):
    """An activation by its formula in z, with trained numbers of its own."""

    def __init__(self, activation: Activation, trained: dict[str, Tensor]) -> None:
        super().__init__()
        self.formula, self.trained = FORMULAS[type(activation)], nn.ParameterDict(trained)

    def forward(self, z: Tensor) -> Tensor:
        return self.formula(z, **self.trained)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape, dtype=weight.dtype)
    layer.weight.data, layer.bias.data = weight.detach().T.clone(), bias.detach().clone()
    return layer


def network_of_block(mlp: BlockMLP, parameters: Parameters, block: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(mlp.depth):
        own = {name: parameters[f"hidden.{k}.{name}"][block] for name in mlp.activation.initial()}
        trained = {name: tensor.detach().clone() for name, tensor in own.items()}
        weight, bias = (parameters[f"hidden.{k}.{part}"][block] for part in ("weight", "bias"))
        layers += [linear(weight, bias), Nonlinearity(mlp.activation, trained)]
    return nn.Sequential(*layers)


def gradients_of_network(network: nn.Sequential) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for number, layer in enumerate(network):
        for name, parameter in layer.named_parameters():
            gradient = parameter.grad.T if name == "weight" else parameter.grad
            found[f"hidden.{number // 2}.{name.removeprefix('trained.')}"] = gradient
    return found


def stacked_parameters(shapes: dict[str, tuple[int, ...]]) -> Parameters:
    """Trained numbers between 0.2 and 0.8 per block; weights and biases about zero."""
    generator = torch.Generator().manual_seed(0)
    drawn = {}
    for name, shape in shapes.items():
        values = torch.rand(N_BLOCKS, *shape, generator=generator, dtype=torch.float64)
        drawn[name] = (values - 0.5 if shape else 0.2 + 0.6 * values).requires_grad_()
    return drawn


def grid_points(encoding: Encoding, n_axes: int) -> Tensor:
    return encoding(coordinates(3, (3,) * n_axes).double())


def random_like(tensor: Tensor) -> Tensor:
    return torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1)).to(tensor)


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("encoding", ENCODINGS, ids=name_of)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name_of)
def test_blocks_agree_with_a_loop_of_networks(
    activation: Activation, encoding: Encoding, depth: int, n_axes: int
) -> None:
    mlp, encoded = BlockMLP(encoding, activation, WIDTH, depth), grid_points(encoding, n_axes)
    parameters = stacked_parameters(mlp.shapes(len(encoded)))
    features = mlp.features(parameters, encoded)
    weighting = random_like(features)
    (features * weighting).sum().backward()
    for block in range(N_BLOCKS):
        network = network_of_block(mlp, parameters, block)
        expected = network(encoded.T).T
        torch.testing.assert_close(features[block], expected)
        (expected * weighting[block]).sum().backward()
        found = {name: tensor.grad[block] for name, tensor in parameters.items()}
        torch.testing.assert_close(found, gradients_of_network(network))


@pytest.mark.parametrize("head", [LinearHead(), SigmoidHead(), ScaledSineHead()], ids=name_of)
def test_heads_agree_with_a_loop_of_layers(head: Head) -> None:
    parameters = stacked_parameters(head.shapes(WIDTH, 2))
    features = random_like(torch.empty(N_BLOCKS, WIDTH, 9, dtype=torch.float64))
    outputs = head.outputs(features, parameters)
    weighting = random_like(outputs)
    (outputs * weighting).sum().backward()
    for block in range(N_BLOCKS):
        own = {n: t[block].detach().clone().requires_grad_() for n, t in parameters.items()}
        z = (features[block].T @ own["readout.weight"] + own["readout.bias"]).T
        if isinstance(head, SigmoidHead):
            z = 1 / (1 + (-z).exp())
        if isinstance(head, ScaledSineHead):
            z = own["readout.amplitude"] * (own["readout.frequency"] * z).sin()
        torch.testing.assert_close(outputs[block], z)
        (z * weighting[block]).sum().backward()
        found = {name: tensor.grad[block] for name, tensor in parameters.items()}
        torch.testing.assert_close(found, {name: tensor.grad for name, tensor in own.items()})


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=name_of)
def test_the_draw_has_the_shapes_and_fills_its_bounds(activation: Activation) -> None:
    mlp = BlockMLP(NoEncoding(), activation, 200, 2)
    drawn, again = (mlp.draw(2, torch.Generator().manual_seed(0)) for _ in range(2))
    torch.testing.assert_close(drawn, again, rtol=0, atol=0)
    assert {name: tuple(tensor.shape) for name, tensor in drawn.items()} == mlp.shapes(2)
    for name, value in activation.initial().items():
        assert float(drawn[f"hidden.1.{name}"]) == pytest.approx(value)
    for layer, fan_in in enumerate((2, 200)):
        for part, bound in zip(("weight", "bias"), activation.bounds(layer, fan_in), strict=True):
            peak = float(drawn[f"hidden.{layer}.{part}"].abs().max())
            assert 0.9 * bound < peak <= bound


@pytest.mark.parametrize(
    ("activation", "layer", "weight_bound"),
    [
        (Sine(), 0, 1 / 4),
        (Siren(omega=15), 0, 1 / 16),
        (Siren(omega=15), 1, math.sqrt(6 / 16) / 15),
        (ReLU(), 1, math.sqrt(6 / 16)),
    ],
)
def test_bounds_follow_their_papers(
    activation: Activation, layer: int, weight_bound: float
) -> None:
    assert activation.bounds(layer, fan_in=16)[0] == pytest.approx(weight_bound)


def test_a_trained_number_may_be_given_as_a_whole_one() -> None:
    drawn = BlockMLP(NoEncoding(), Sine(1), 3, 2).draw(2, torch.Generator())
    assert {tensor.dtype for tensor in drawn.values()} == {torch.float32}


def test_parameters_of_the_reference_block() -> None:
    mlp = BlockMLP(PositionalEncoding(4), Gaussian(), width=20, depth=2)
    assert BlockNetwork(mlp, LinearHead(), n_channels=3).n_parameters == 825


POINT = torch.tensor([[0.5], [-0.25]], dtype=torch.float64)


@pytest.mark.parametrize("n_axes", [2, 3])
def test_the_number_of_inputs_goes_with_the_axes(n_axes: int) -> None:
    mlps = [BlockMLP(one, Sine(), WIDTH, 1) for one in ENCODINGS]
    counts = [BlockNetwork(mlp, LinearHead(), 3, n_axes).n_inputs for mlp in mlps]
    assert counts == [n_axes, 4 * n_axes, 3 * n_axes]


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


@pytest.fixture
def three() -> Parameters:
    return {"weight": torch.arange(12.0).view(3, 2, 2), "a": torch.tensor([5.0, 6.0, 7.0])}


def flat(parameters: Parameters) -> list[list[float]]:
    return [parameters["a"].tolist(), parameters["weight"][:, 0, 0].tolist()]


@pytest.mark.parametrize("index", [[2, 0], [0, 2], [False, True, True]])
def test_select_takes_numbers_in_their_order_or_a_mask(three: Parameters, index: list[int]) -> None:
    rows = torch.arange(3)[torch.tensor(index)].tolist()
    assert flat(select(three, torch.tensor(index))) == [
        [5.0 + i for i in rows],
        [4.0 * i for i in rows],
    ]


def test_concatenate_joins_what_select_took_apart(three: Parameters) -> None:
    parts = [select(three, torch.tensor(rows)) for rows in ([0], [1, 2])]
    torch.testing.assert_close(concatenate(parts), three, rtol=0, atol=0)


def test_repeat_makes_blocks_that_can_differ() -> None:
    copies = repeat({"a": torch.tensor(1.0), "bias": torch.zeros(2)}, 3)
    copies["bias"][0] = 9.0
    assert copies["a"].shape == (3,)
    assert copies["bias"].tolist() == [[9.0, 9.0], [0.0, 0.0], [0.0, 0.0]]


def test_where_mixes_block_by_block(three: Parameters) -> None:
    zeros = {name: torch.zeros_like(tensor) for name, tensor in three.items()}
    mixed = where(torch.tensor([True, False, True]), zeros, three)
    assert flat(mixed) == [[0.0, 6.0, 0.0], [0.0, 4.0, 0.0]]
