"""What the tests of the scripts start from."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

PICTURES = ("pluto.jpg", "Road.jpg", "SeaSunset.jpg", "caliterra_mosaic_8000x9000.jpg")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the benchmarks read: waves with some noise."""
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[0:160, 0:160] / 20
    for n, name in enumerate(PICTURES):
        noise = np.random.default_rng(n).normal(0, 8, (160, 160, 3))
        waves = 60 * np.sin(x + n)[..., None] + 40 * np.cos(y * (1 + n))[..., None]
        cv2.imwrite(str(folder / name), (120 + waves + noise).clip(0, 255).astype(np.uint8))
    return folder
