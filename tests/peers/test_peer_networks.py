"""Networks of other methods against their papers' formulas, written out again."""

import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional as F

from miner.peers.coordinates import CoordinateMLP, Finer, FourierFeatures, Gauss, Siren, Wire
from miner.peers.filters import MFN
from miner.peers.grids import Grid, HashGrid
from miner.peers.network import PeerNetwork

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "method").glob("*.yaml"))
METHODS = [path for path in OPTIONS if "NetworkPeer" in path.read_text()]
NETWORKS = [FourierFeatures, Siren, Finer, Gauss, Wire, MFN, HashGrid, Grid]
each_network = pytest.mark.parametrize("network_class", NETWORKS)
ACTIVATIONS: dict[type[CoordinateMLP], Callable[..., np.ndarray]] = {
    FourierFeatures: lambda z: np.maximum(z, 0),
    Siren: lambda z: np.sin(30 * z),
    Finer: lambda z: np.sin(30 * (abs(z) + 1) * z),
    Gauss: lambda z: np.exp(-((30 * z) ** 2)),
    Wire: lambda z: np.exp(20j * z) * np.exp(-((30 * abs(z)) ** 2)),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def points(n: int, n_axes: int = 2) -> Tensor:
    return torch.rand(n, n_axes) * 2 - 1


def arrays(network: PeerNetwork) -> dict[str, np.ndarray]:
    return {
        name: tensor.numpy().astype(_wide(tensor)) for name, tensor in network.state_dict().items()
    }


def _wide(tensor: Tensor) -> type:
    return np.complex128 if tensor.is_complex() else np.float64


@pytest.mark.parametrize("network_class", ACTIVATIONS)
def test_a_coordinate_network_is_its_formula(network_class: type[CoordinateMLP]) -> None:
    network = network_class((8, 8), 3, 6, depth=2)
    numbers, xy = arrays(network), points(5)
    x = xy.double().numpy()
    if network_class is FourierFeatures:
        phases = 2 * np.pi * (x + 1) / 2 @ numbers["frequencies"].T
        x = np.concatenate([np.sin(phases), np.cos(phases)], axis=1)
    for i in range(3):
        x = x @ numbers[f"layers.{i}.weight"].T + numbers[f"layers.{i}.bias"]
        x = ACTIVATIONS[network_class](x) if i < 2 else x.real
    if network_class is FourierFeatures:
        x = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(network(xy).detach(), x, rtol=1e-3, atol=1e-4)


def test_the_period_factor_of_finer_has_no_gradient() -> None:
    network = Finer((8, 8), 1, 1, depth=1)
    z = torch.tensor([0.1, -0.2], requires_grad=True)
    network.activation(z).sum().backward()
    factor = z.detach().abs() + 1
    torch.testing.assert_close(z.grad, (30 * factor * z.detach()).cos() * 30 * factor)


def assert_uniform(tensor: Tensor, bound: float) -> None:
    """Hundreds of numbers that fill +-bound evenly."""
    assert tensor.abs().max() <= bound * 1.0001
    assert tensor.abs().max() > 0.98 * bound
    assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("network_class", [Siren, Finer])
def test_sine_weights_follow_the_fan_in(network_class: type[Siren | Finer]) -> None:
    first, *others = network_class((8, 8, 8), 50, 300, depth=3, omega=20.0).layers
    assert_uniform(first.weight, 1 / 3)
    for layer in others:
        assert_uniform(layer.weight, math.sqrt(6 / 300) / 20)


def test_first_biases_of_finer_fill_their_range() -> None:
    wide = Finer((8, 8), 1, 500, first_bias=3.0).layers
    assert_uniform(wide[0].bias, 3.0)
    assert_uniform(wide[1].bias, 1 / math.sqrt(500))
    assert_uniform(Finer((8, 8), 1, 500).layers[0].bias, 1 / math.sqrt(2))


def test_wire_draws_real_and_imaginary_parts_alike() -> None:
    first, second, *_ = Wire((8, 8), 3, 100).layers
    assert not first.weight.is_complex()
    for part in torch.view_as_real(second.weight).unbind(-1):
        assert_uniform(part, 1 / math.sqrt(100))


def test_fourier_features_are_drawn_after_glorot() -> None:
    network = FourierFeatures((8, 8), 3, 200, n_frequencies=1000, scale=10.0)
    assert network.frequencies.std().item() == pytest.approx(10, rel=0.05)
    second = network.layers[1]
    assert second.weight.std().item() == pytest.approx(math.sqrt(1 / 200), rel=0.02)
    assert second.weight.abs().max() < 2 * math.sqrt(1 / 200) / 0.8796
    assert torch.cat([layer.bias for layer in network.layers]).std().item() == pytest.approx(
        0.01, rel=0.1
    )


def test_mfn_is_its_formula() -> None:
    network = MFN((8, 8), 3, 4, depth=2)
    numbers, xy = arrays(network), points(5)
    for p, x in enumerate(xy.double().numpy()):
        filters = []
        for i in range(3):
            own = {
                n.split(f"filters.{i}.")[1]: v for n, v in numbers.items() if f"filters.{i}." in n
            }
            wave = np.sin(own["linear.weight"] @ x + own["linear.bias"])
            distance = np.linalg.norm(x - own["mu"], axis=1) ** 2
            filters.append(wave * np.exp(-own["gamma"] / 2 * distance))
        z = filters[0]
        for i in range(2):
            z = (numbers[f"layers.{i}.weight"] @ z + numbers[f"layers.{i}.bias"]) * filters[i + 1]
        expected = numbers["last.weight"] @ z + numbers["last.bias"]
        np.testing.assert_allclose(network(xy[p : p + 1])[0].detach(), expected, atol=1e-4)


def test_mfn_draws_filters_from_their_distributions() -> None:
    network = MFN((8, 8), 1, 5000, depth=0, input_scale=64.0, concentration=3.0)
    gabor = network.filters[0]
    assert gabor.gamma.mean().item() == pytest.approx(3, rel=0.05)
    assert gabor.gamma.var().item() == pytest.approx(3, rel=0.1)
    assert_uniform(gabor.mu, 1)
    assert_uniform(gabor.linear.bias, math.pi)
    assert_uniform(gabor.linear.weight / gabor.gamma.sqrt()[:, None], 64 / math.sqrt(2))


def test_mfn_shares_scales_among_its_filters() -> None:
    network = MFN((8, 8), 1, 2000, depth=3)
    assert network.filters[2].gamma.mean().item() == pytest.approx(6 / 4, rel=0.1)
    weight = network.filters[2].linear.weight / network.filters[2].gamma.sqrt()[:, None]
    assert_uniform(weight, 256 / math.sqrt(4) / math.sqrt(2))
    assert_uniform(network.layers[1].weight, 1 / math.sqrt(2000))


def slow_features(network: HashGrid, position: list[float]) -> list[float]:
    """Features of one position in [0, 1]^D: a loop over levels and corners."""
    features, start = [], 0
    for n in network.resolutions:
        n_points = (n + 1) ** len(position)
        n_rows = min(n_points, network.size)
        total = np.zeros(network.table.shape[1])
        lower = [min(math.floor(x * n), n - 1) for x in position]
        for corner in product((0, 1), repeat=len(position)):
            index, weight, row = [], 1.0, 0
            for x, low, offset in zip(position, lower, corner, strict=True):
                index.append(low + offset)
                weight *= x * n - low if offset else 1 - (x * n - low)
            if n_points <= network.size:
                for i in index:
                    row = row * (n + 1) + i
            else:
                for i, prime in zip(index, (1, 2654435761, 805459861), strict=False):
                    row ^= i * prime % 2**32
                row %= network.size
            total += weight * network.table[start + row].detach().numpy()
        features += total.tolist()
        start += n_rows
    return features


@pytest.mark.parametrize(("sides", "size"), [((24, 40), 60), ((9, 12, 10), 97), ((30,), 11)])
def test_hash_grid_finds_the_features_of_a_loop(sides: tuple[int, ...], size: int) -> None:
    network = HashGrid(sides, 1, size, n_levels=4, coarsest=3, finest=0.7)
    network.table.data.normal_()
    edges = torch.tensor(list(product((-1.0, 1.0, 0.0), repeat=len(sides))))
    xy = torch.cat([points(20, len(sides)), edges])
    slow = [slow_features(network, row) for row in ((xy.double() + 1) / 2).tolist()]
    np.testing.assert_allclose(network.encode(xy).detach(), slow, atol=1e-4)
    kinds = [(n + 1) ** len(sides) <= size for n in network.resolutions]
    assert kinds[0] and not kinds[-1], "the test needs dense and hashed levels"


def test_hash_grid_levels_grow_geometrically() -> None:
    network = HashGrid((512, 300), 3, 2**19)
    assert len(network.resolutions) == 16
    assert (network.resolutions[0], network.resolutions[-1]) == (16, 256)
    growth = math.exp((math.log(256) - math.log(16)) / 15)
    assert network.resolutions[7] == math.floor(16 * growth**7)
    assert_uniform(network.table, 1e-4)
    assert_uniform(network.layers[1].weight, math.sqrt(6 / 128))


def test_hash_grid_feeds_a_relu_network_without_biases() -> None:
    network = HashGrid((16, 16), 3, 50, width=8)
    network.table.data.normal_()
    xy, weights = points(6), [layer.weight for layer in network.layers]
    x = network.encode(xy)
    expected = (x @ weights[0].T).clamp(min=0) @ weights[1].T
    torch.testing.assert_close(network(xy), expected.clamp(min=0) @ weights[2].T)
    assert network.n_parameters == network.table.numel() + 32 * 8 + 8 * 8 + 8 * 3


@pytest.mark.parametrize("sides", [(6, 9), (4, 6, 5)])
def test_grid_interpolates_as_grid_sample_does(sides: tuple[int, ...]) -> None:
    network = Grid(sides, 3, 7)
    network.values.data.normal_()
    xy = torch.cat([points(50, len(sides)), torch.tensor([[-1.0], [1.0]]).expand(-1, len(sides))])
    image = network.values.T.reshape(1, 3, *(n + 1 for n in network.cells))
    place = xy.flip(-1).reshape(1, *[1] * (len(sides) - 1), -1, len(sides))  # columns first
    sampled = F.grid_sample(image, place, align_corners=True).reshape(3, -1).T
    torch.testing.assert_close(network(xy), sampled, atol=1e-5, rtol=1e-5)


def test_the_first_coordinate_is_the_row() -> None:
    network = Grid((2, 4), 1, 4)
    assert network.cells == [2, 4]
    network.values.data = torch.arange(3.0)[:, None].expand(3, 5).reshape(-1, 1).clone()
    rows = network(torch.tensor([[-1.0, 0.3], [0.0, -0.8], [1.0, 1.0]]))
    assert rows.flatten().tolist() == [0, 1, 2]


def test_a_grid_of_a_cell_less_than_pixels_holds_every_pixel() -> None:
    assert Grid((5, 5), 3, 4).n_parameters == 5 * 5 * 3
    assert Grid((5, 5), 3, 4)(points(2)).tolist() == [[0.5] * 3] * 2


@pytest.mark.parametrize("network_class", [HashGrid, Grid])
def test_rounding_may_leave_the_cube(network_class: type[PeerNetwork]) -> None:
    network = network_class((8, 8), 1, 5)
    xy = torch.tensor([[-1.000001, 1.000001], [-1.0, 1.0]])
    torch.testing.assert_close(*network(xy), atol=1e-4, rtol=0)


@each_network
@pytest.mark.parametrize("sides", [(64, 48), (16, 24, 20)])
def test_parameters_grow_with_size(
    network_class: type[PeerNetwork], sides: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        counts = [network_class(sides, 3, size).n_parameters for size in (1, 2, 5, 20, 100, 500)]
    assert counts == sorted(set(counts))
    assert network_class(sides, 3, 5).n_parameters == counts[2]


def test_complex_parameters_count_twice() -> None:
    first, hidden, last = 2 * 10 + 10, 2 * (10 * 10 + 10), 2 * (10 * 3 + 3)
    assert Wire((8, 8), 3, 10, depth=2).n_parameters == first + hidden + last
    assert Siren((8, 8), 3, 10, depth=2).n_parameters == 2 * 10 + 10 + 10 * 10 + 10 + 10 * 3 + 3


@each_network
@pytest.mark.parametrize("sides", [(12, 9), (6, 7, 8)])
def test_gradients_are_finite(network_class: type[PeerNetwork], sides: tuple[int, ...]) -> None:
    network = network_class(sides, 2, 5)
    values = network(points(40, len(sides)))
    assert values.shape == (40, 2)
    assert not values.is_complex()
    values.square().sum().backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and torch.view_as_real(g + 0j).isfinite().all() for g in gradients)
    assert any(g is not None and g.abs().max() > 0 for g in gradients)


@each_network
def test_a_seed_decides_the_network(network_class: type[PeerNetwork]) -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        network = network_class((8, 8), 3, 4)
        return torch.cat([p.detach().flatten().abs() for p in network.parameters()])

    assert torch.equal(draw(1), draw(1))
    assert network_class is Grid or not torch.equal(draw(1), draw(2))


@each_network
def test_a_network_needs_a_size(network_class: type[PeerNetwork]) -> None:
    with pytest.raises(ValueError, match="size=0"):
        network_class((8, 8), 3, 0)


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_configurations_build_their_network(path: Path) -> None:
    settings = OmegaConf.load(path)
    network = instantiate(settings.network)((32, 24), 3, 4)
    assert isinstance(network, PeerNetwork)
    low, high = network.value_range
    assert (low, high) == ((-1, 1) if path.stem in ("siren", "finer", "mfn") else (0, 1))
