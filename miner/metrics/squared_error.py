"""Squared error and PSNR, in float64."""

import math

import torch
from torch import Tensor


def psnr_db(source: Tensor, reconstruction: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for peak 1.0, over all pixels and channels.

    Takes two `(C, *S)` tensors, the source in the unit range; the reconstruction is clipped to it
    first. `math.inf` when the two are then identical. Raises `ValueError` if the shapes differ or
    hold no pixel.
    """
    per_pixel = squared_error(source.detach().cpu(), reconstruction.detach().cpu())
    return psnr_of_sse(float(per_pixel.sum()), source.numel())


def psnr_of_sse(sse: float, n_values: int) -> float:
    """PSNR in dB of a squared error summed over so many values; `ValueError` for none."""
    if n_values == 0:
        raise ValueError("no pixel was compared: the images need at least one pixel")
    return math.inf if sse == 0 else -10 * math.log10(sse / n_values)


def squared_error(source: Tensor, reconstruction: Tensor) -> Tensor:
    """Sum over channels, `(*S)`, for two `(C, *S)` tensors; the second is clipped first.

    Raises `ValueError` if the shapes differ.
    """
    if source.shape != reconstruction.shape:
        raise ValueError(
            f"source {tuple(source.shape)} and reconstruction {tuple(reconstruction.shape)} "
            "must have the same shape (C, *S)"
        )
    per_pixel = torch.zeros(source.shape[1:], dtype=torch.float64)
    for wanted, got in zip(source, reconstruction, strict=True):  # temporaries stay small
        per_pixel += wanted.double().sub_(got.clamp(0, 1)).square_()
    return per_pixel
