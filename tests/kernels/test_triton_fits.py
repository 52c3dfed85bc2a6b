"""Whole fits by Triton's programs, interpreted where there is no GPU."""

from typing import Any

import pytest
import torch
from block_problems import noise
from kernel_problems import SETTINGS

import miner

pytestmark = pytest.mark.skipif(
    torch.cuda.is_available(), reason="a fit on the CPU, where a GPU's programs do not run"
)

TRITON = {"_target_": "miner.kernels.backend.TritonBackend"}
SMALL = SETTINGS | {"model.width": 3, "fitting.max_steps": 2}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"storage": "int8", "weights": "shared"}, marks=pytest.mark.slow),
        {"readout": "learned", "fitting.batch_pixels": 20},
        {
            "pyramid": "gaussian",
            "pyramid.n_levels": 1,
            "capacity": "target_error",
            "capacity.probe_steps": 1,
            "capacity.max_width": 4,
        },
    ],
    ids=["rounded", "learned", "sized"],
)
def test_a_whole_fit_is_as_good_as_a_plain_one(changes: dict[str, Any]) -> None:
    image = noise(1, 8, 11)  # two patches, one of them not whole
    errors = [
        (miner.fit(image, **SMALL | changes, backend=backend).reconstruct() - image).square().mean()
        for backend in ("eager", TRITON)
    ]
    assert abs(10 * float(torch.log10(errors[0] / errors[1]))) < 0.05
