"""What compiled blocks say, against the networks' own outputs."""

import pytest
import torch
from fused_problems import KINDS, Kind, in_single_precision, problem_of
from torch import Tensor

from miner.fitting.backend import EagerBackend
from miner.kernels.backend import CompiledBackend
from miner.models.network import BlockNetwork
from miner.models.parameters import Parameters, select


def stored(kind: Kind, n_pixels: int = 70) -> tuple[BlockNetwork, Parameters, Tensor]:
    """A network, blocks with all their parameters, and encoded coordinates."""
    given = in_single_precision(problem_of(kind, n_pixels))
    return given.model, given.fit().parameters, given.encoded


@pytest.mark.parametrize("n_pixels", [1, 64, 70])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_compiled_outputs_are_the_networks_own(kind: Kind, n_pixels: int) -> None:
    model, parameters, encoded = stored(kind, n_pixels)
    found = CompiledBackend().outputs(model, parameters, encoded)
    expected = EagerBackend().outputs(model, parameters, encoded)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS[::4], ids=str)
def test_a_block_says_the_same_bits_alone(kind: Kind) -> None:
    model, parameters, encoded = stored(kind)
    together = CompiledBackend().outputs(model, parameters, encoded)
    for block in range(len(together)):
        alone = select(parameters, torch.tensor([block]))
        assert torch.equal(CompiledBackend().outputs(model, alone, encoded)[0], together[block])
