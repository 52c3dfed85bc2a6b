"""Rendering by the compiled steps against the networks' own outputs."""

import pytest
import torch
from kernel_problems import KINDS, Kind, fit, problem_of, single
from torch import Tensor

from miner.fitting.backend import EagerBackend
from miner.kernels.backend import CompiledBackend
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters, select


def stored(kind: Kind, n_pixels: int = 70) -> tuple[BlockNetwork, Parameters, Tensor]:
    """A network, blocks with all their parameters, and encoded coordinates."""
    problem = single(problem_of(kind, n_pixels))
    return problem.network, fit(problem, backend=EagerBackend()).parameters, problem.encoded


@pytest.mark.parametrize("n_pixels", [1, 64, 70])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_compiled_outputs_are_those_of_the_network(kind: Kind, n_pixels: int) -> None:
    network, parameters, encoded = stored(kind, n_pixels)
    found = CompiledBackend().outputs(network, parameters, encoded)
    expected = network.outputs(parameters, encoded)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS[::4], ids=str)
def test_a_block_alone_has_the_same_bits(kind: Kind) -> None:
    network, parameters, encoded = stored(kind)
    batch = CompiledBackend().outputs(network, parameters, encoded)
    for block, expected in enumerate(batch):
        alone = select(parameters, torch.tensor([block]))
        assert torch.equal(CompiledBackend().outputs(network, alone, encoded)[0], expected)
