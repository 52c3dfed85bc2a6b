"""The same fit on a GPU as on the CPU."""

import numpy as np
import pytest
import torch

import miner

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


@pytest.mark.parametrize("readout", ["closed_form", "learned"])
def test_a_gpu_fits_as_well_as_the_cpu(readout: str) -> None:
    image = np.random.default_rng(0).random((3, 40, 52), dtype=np.float32)
    settings = {"patch_size": 16, "readout": readout, "fitting": {"max_steps": 30}}
    errors = [
        np.square(miner.fit(image, device=device, **settings).render() - image).mean()
        for device in ("cpu", "cuda")
    ]
    assert 10 * abs(np.log10(errors[0] / errors[1])) < 0.5
