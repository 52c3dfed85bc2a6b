"""Test images shipped with scikit-image; nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from miner.images.errors import ImageError

SAMPLES: tuple[str, ...] = (
    "astronaut",
    "hubble",
    "retina",
    "coffee",
    "chelsea",
    "rocket",
    "camera",
    "brick",
    "moon",
)
SAMPLE_PREFIX = "sample:"


def load_sample(name: str) -> NDArray[np.uint8]:
    """Load one of `SAMPLES`: (H, W) for camera, brick and moon, else (H, W, 3), in 0..255.

    Raises `ImageError` if the name is not one of them.
    """
    if name not in SAMPLES:
        raise ImageError(f"sample {name!r} does not exist: use one of {', '.join(SAMPLES)}")
    from skimage import data

    load: Any = getattr(data, "hubble_deep_field" if name == "hubble" else name)
    return np.asarray(load(), dtype=np.uint8)
