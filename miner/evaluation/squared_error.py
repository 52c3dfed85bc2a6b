"""The squared error of a reconstruction, added up region by region."""

import math

import torch
from torch import Tensor


class SquaredError:
    """A sum over all pixels and channels so far, in float64."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.total, self.n_values = 0.0, 0

    def add(self, source: Tensor, reconstruction: Tensor) -> Tensor:
        """Add a region: two `(C, *S)` tensors of one shape, the reconstruction clipped first.

        Gives the sum over channels, `(*S)` float64.

        Raises:
            ValueError: the shapes differ.
        """
        if source.shape != reconstruction.shape:
            raise ValueError(
                f"source {tuple(source.shape)} and reconstruction {tuple(reconstruction.shape)} "
                "must have the same shape (C, *S)"
            )
        per_pixel = torch.zeros(source.shape[1:], dtype=torch.float64)
        for wanted, got in zip(source, reconstruction, strict=True):  # temporaries stay small
            per_pixel += wanted.double().sub_(got.clamp(0, 1)).square_()
        self.total += float(per_pixel.sum())
        self.n_values += source.numel()
        return per_pixel

    @property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio for peak 1.0; infinite for a perfect reconstruction.

        Raises:
            ValueError: nothing was added.
        """
        if self.n_values == 0:
            raise ValueError("no pixel was compared: add regions that hold at least one pixel")
        return math.inf if self.total == 0 else -10 * math.log10(self.total / self.n_values)
