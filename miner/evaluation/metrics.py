"""Quality of a reconstruction in numbers.

Every function takes the source and its reconstruction as `(C, *S)` tensors of one shape, the
source in the unit range, and works on the CPU slab by slab: the numbers do not depend on the
device (convolutions on a GPU may round to TF32) and extra memory stays near 100 MB.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

_SLAB_ELEMENTS = 2**21
_SSIM_WINDOW = 11


def mse(source: Tensor, reconstruction: Tensor) -> float:
    """Mean squared error over all pixels and channels, accumulated in float64.

    Takes two `(C, *S)` tensors and clips neither. Raises `ValueError` if their shapes differ
    or hold no pixel.
    """
    return _mean_squared_error(source, reconstruction, clip=False)


def psnr_db(source: Tensor, reconstruction: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for peak 1.0, over all pixels and channels.

    Takes two `(C, *S)` tensors; the reconstruction is clipped to [0, 1] first. `math.inf` when
    the two are then identical. Raises `ValueError` if the shapes differ or hold no pixel.
    """
    error = _mean_squared_error(source, reconstruction, clip=True)
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(source: Tensor, reconstruction: Tensor, *, tile_size: int = 192) -> float | None:
    """Structural similarity of two images, the mean over channels and full windows.

    Wang et al. 2004 (doi:10.1109/TIP.2003.819861): Gaussian windows of 11 x 11 pixels, sigma
    1.5, data range 1; windows that reach over the border are left out. Takes two `(C, H, W)`
    tensors; the reconstruction is clipped to [0, 1] first. Gives at most 1, or `None` if a side
    is below 11 pixels or the arrays are not images.

    `tile_size` (pixels, at least 11) bounds the memory, which is some 28 times a tile's, and
    does not change the value. Raises `ValueError` if it is smaller or the shapes differ.
    """
    _check_shapes(source, reconstruction)
    overlap = _SSIM_WINDOW - 1
    if tile_size < _SSIM_WINDOW:
        raise ValueError(f"tile_size={tile_size}: a tile must hold a window of {_SSIM_WINDOW} px")
    if source.ndim != 3 or min(source.shape[1:]) < _SSIM_WINDOW:
        return None
    channels, height, width = source.shape
    total = 0.0
    for top in range(0, height - overlap, tile_size - overlap):
        for left in range(0, width - overlap, tile_size - overlap):
            tile = (..., slice(top, top + tile_size), slice(left, left + tile_size))
            total += _ssim_sum(source[tile], reconstruction[tile])
    return total / (channels * (height - overlap) * (width - overlap))


def seam_ratio(source: Tensor, reconstruction: Tensor, patch_size: int) -> float | None:
    """Mean squared error at inner patch borders over that of all other pixels.

    Takes two `(C, *S)` tensors; the reconstruction is clipped to [0, 1] first. Patches of
    `patch_size` pixels a side start at the origin. A pixel is at a border if it lies in the
    first or last row or column (or plane) of a patch that faces another patch. About 1 means
    no visible seams. `None` if there is no inner border, no other pixel, or no error there.
    Raises `ValueError` if the shapes differ or `patch_size` is below 1.
    """
    _check_shapes(source, reconstruction)
    if patch_size < 1:
        raise ValueError(f"patch_size={patch_size}: a patch needs at least 1 pixel a side")
    seams = [_seam_positions(side, patch_size) for side in source.shape[1:]]
    n_pixels = math.prod(source.shape[1:])
    n_inside = math.prod(int((~seam).sum()) for seam in seams)
    if n_inside in (0, n_pixels):
        return None
    seam_error = inside_error = 0.0
    for rows, error in _squared_error_slabs(source, reconstruction, clip=True):
        at_seam = seams[0][rows]
        for seam in seams[1:]:
            at_seam = at_seam.unsqueeze(-1) | seam
        per_pixel = error.sum(dim=0)
        seam_error += float(per_pixel[at_seam].sum())
        inside_error += float(per_pixel[~at_seam].sum())
    if inside_error == 0:
        return None
    return (seam_error / (n_pixels - n_inside)) / (inside_error / n_inside)


def _check_shapes(source: Tensor, reconstruction: Tensor) -> None:
    if source.shape != reconstruction.shape:
        raise ValueError(
            f"source {tuple(source.shape)} and reconstruction {tuple(reconstruction.shape)} "
            "must have the same shape (C, *S)"
        )
    if source.ndim < 2 or source.numel() == 0:
        raise ValueError(f"shape {tuple(source.shape)}: expected (C, *S) with at least one pixel")


def _squared_error_slabs(
    source: Tensor, reconstruction: Tensor, *, clip: bool
) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of the first axis of `S` and their float64 squared errors (C, rows, ...)."""
    n_rows = source.shape[1]
    step = max(1, _SLAB_ELEMENTS * n_rows // source.numel())
    for start in range(0, n_rows, step):
        rows = slice(start, start + step)
        estimate = reconstruction[:, rows].detach().cpu().double()
        if clip:
            estimate = estimate.clamp(0, 1)
        yield rows, (source[:, rows].detach().cpu().double() - estimate).square()


def _mean_squared_error(source: Tensor, reconstruction: Tensor, *, clip: bool) -> float:
    _check_shapes(source, reconstruction)
    slabs = _squared_error_slabs(source, reconstruction, clip=clip)
    return math.fsum(float(error.sum()) for _, error in slabs) / source.numel()


def _ssim_sum(source: Tensor, reconstruction: Tensor) -> float:
    """Sum of the SSIM over the full windows and channels of one `(C, h, w)` tile."""
    # Imported here because it takes seconds and most callers never ask for SSIM.
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, similarity = structural_similarity_index_measure(
        reconstruction.detach().cpu().float().clamp(0, 1).unsqueeze(0),
        source.detach().cpu().float().unsqueeze(0),
        sigma=1.5,  # from which torchmetrics derives its 11 x 11 window
        data_range=1.0,
        return_full_image=True,
    )
    # torchmetrics pads by reflection; only the windows without padding count.
    border = _SSIM_WINDOW // 2
    full = similarity[..., border:-border, border:-border]
    return float(full.sum(dtype=torch.float64))


def _seam_positions(side: int, patch_size: int) -> Tensor:
    """Mark (bool, (side,)) the positions along one axis that face another patch."""
    position = torch.arange(side)
    first = (position % patch_size == 0) & (position > 0)
    last = (position % patch_size == patch_size - 1) & (position < side - 1)
    return first | last
