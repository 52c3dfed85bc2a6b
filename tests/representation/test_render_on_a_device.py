"""Whatever is stored, it is decoded, computed and merged on the device that was asked for."""

import pytest
import torch
from fake_device import FAKE, FakeDevice, values
from products import make_spec, random_representation

from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage
from miner.signals.regions import Region

REGIONS: list[Region] = [((0, 21), (0, 34)), ((3, 5), (9, 30))]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("pyramid", [GaussianPyramid(), LaplacianPyramid()])
@pytest.mark.parametrize("storage", [Float32Storage(), Float16Storage(), Int8Storage()])
def test_a_region_is_rendered_on_the_device(
    storage: Storage, pyramid: Pyramid, region: Region
) -> None:
    product = random_representation(make_spec((21, 34), storage=storage, pyramid=pyramid))
    expected = product.reconstruct(0, region)
    with FakeDevice() as device:
        found = product.reconstruct(0, region, FAKE)
    assert torch.equal(values(found), expected)
    assert device.n_waits == 0


def test_a_picture_comes_from_the_device_at_once() -> None:
    product = random_representation(make_spec((21, 34)))
    expected = product.reconstruct(1).clamp(0, 1)
    with FakeDevice() as device:
        found = product.render(1, device=FAKE)
    assert torch.equal(torch.from_numpy(found), expected)
    assert device.n_waits == 1
