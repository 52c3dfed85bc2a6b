"""Quality of a whole reconstruction in memory."""

from torch import Tensor

from miner.evaluation.squared_error import SquaredError


def psnr_db(source: Tensor, reconstruction: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for peak 1.0, over all pixels and channels.

    Takes two `(C, *S)` tensors, the source in the unit range; the reconstruction is clipped to it
    first. `math.inf` when the two are then identical. Works on the CPU in float64. Raises
    `ValueError` if the shapes differ or hold no pixel.
    """
    error = SquaredError()
    error.add(source.detach().cpu(), reconstruction.detach().cpu())
    return error.psnr_db
