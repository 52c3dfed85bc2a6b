"""Whole fits by Triton's programs, interpreted where there is no GPU."""

from typing import Any

import pytest
import torch
from problems import fit, noise

from miner.fitting.backend import EagerBackend
from miner.fitting.capacity import TargetErrorCapacity
from miner.fitting.initialization import SharedWeights
from miner.fitting.readout import LearnedReadout
from miner.kernels.backend import TritonBackend
from miner.pyramids.pyramid import GaussianPyramid
from miner.representation.storage import Int8Storage

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="a fit on the CPU, which a GPU's programs do not run on"
)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {"storage": Int8Storage(), "weights": SharedWeights()}, marks=pytest.mark.slow
        ),
        {"readout": LearnedReadout(), "batch_pixels": 20},
        {
            "pyramid": GaussianPyramid(1),
            "capacity": TargetErrorCapacity(probe_steps=1, max_width=4),
        },
    ],
    ids=["rounded", "learned", "sized"],
)
def test_a_whole_fit_is_as_good_as_a_plain_one(changes: dict[str, Any]) -> None:
    image = noise(1, 8, 11)  # two patches, one of them not whole
    errors = [
        (fit(image, backend=backend, width=3, max_steps=2, **changes).reconstruct() - image)
        .square()
        .mean()
        for backend in (EagerBackend(), TritonBackend())
    ]
    assert abs(10 * float(torch.log10(errors[0] / errors[1]))) < 0.05
