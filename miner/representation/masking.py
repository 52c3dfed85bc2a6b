"""What is rendered where a source has no data: NaN."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from miner.representation.points import centres
from miner.representation.spec import Spec
from miner.signals.mask import Valid
from miner.signals.regions import Region
from miner.signals.signal import Signal, SourceSignal

ValidIn = Callable[[Region], Valid]
"""Gives which pixels of a part of what is rendered are data."""


def valid_pixels(spec: Spec, level: int, box: Region, sides: tuple[int, ...]) -> ValidIn | None:
    """Of a box of a level at other sides: whether the level's pixel at a centre is data."""
    mask = spec.masks[level]

    def valid(part: Region) -> Valid:
        assert mask is not None
        return mask.at(np.ix_(*(one.long().numpy() for one in centres(box, sides, part))))

    return None if mask is None else valid


def masked_image(image: Signal, valid: ValidIn | None) -> Signal:
    """An image `(C, *S)` with NaN where there is no data."""
    if valid is None:
        return image

    def read(part: Region) -> Tensor:
        return _nan_unless(torch.from_numpy(valid(part)), image.read(part))

    return SourceSignal(read, image.n_channels, image.sides, image.device)


def masked_points(spec: Spec, values: Tensor, places: Tensor) -> Tensor:
    """Values `(N, C)` at places `(N, D)` in pixels of level 0, NaN in pixels without data."""
    if spec.mask is None:
        return values
    pixels = places.detach().cpu().long().minimum(torch.tensor(spec.sides) - 1)
    return _nan_unless(torch.from_numpy(spec.mask.at(tuple(pixels.T.numpy())))[:, None], values)


def _nan_unless(valid: Tensor, values: Tensor) -> Tensor:
    return torch.where(valid.to(values.device), values, torch.nan)
