"""Squared error, PSNR, SSIM and seam ratio of an image that is compared tile by tile."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.signals.grid import PatchGrid
from miner.signals.mask import Mask, Valid
from miner.signals.regions import TILE_SIDE, Region, extended, sides_of, tiles
from miner.signals.signal import Signal
from miner.support.communication import SINGLE_PROCESS, Communicator, gather_items

if TYPE_CHECKING:
    from miner.metrics.base import TileMetric  # imports torchmetrics

SSIM_REACH = 10
"""Pixels below and to the right of the first one of a window of SSIM."""

_SIGMA = 1.5
_BAND = 128  # rows of windows at once: temporaries stay small, and in the cache
_C1, _C2 = 0.01**2, 0.03**2
_MOST_WAITING = 4  # tiles that are kept for SSIM
_LOG = logging.getLogger("miner")


def psnr_of_sse(sse: float, n_values: int) -> float:
    """PSNR in dB of a squared error summed over so many values; `ValueError` for none."""
    if n_values == 0:
        raise ValueError("no pixel was compared: the images need at least one pixel")
    return math.inf if sse == 0 else -10 * math.log10(sse / n_values)


def squared_error(source: Tensor, reconstruction: Tensor) -> Tensor:
    """Sum over channels, `(*S)` float64, of two `(C, *S)` tensors, the second clipped."""
    difference = source - reconstruction.clamp(0, 1)
    return difference.square_().sum(0, dtype=torch.float64)


class Evaluation:
    """Scores the tiles of level 0; threads compute SSIM while the next tile is rendered.

    `reach` counts the pixels after a tile that are needed. A metric that fails gets no other tile.
    Pixels that are no data by `mask` do not count, nor do windows of SSIM that hold one.
    """

    def __init__(
        self,
        grid: PatchGrid,
        n_channels: int,
        metrics: Mapping[str, "TileMetric"] | None = None,
        mask: Mask | None = None,
    ) -> None:
        self._sides, self._n_channels, self._mask = grid.sides, n_channels, mask
        self._metrics, self._failed = dict(metrics or {}), set[str]()
        self.reach = max([SSIM_REACH, *(metric.halo for metric in self._metrics.values())])
        self._inner = [inner_pixels(side, grid.patch_size) for side in grid.sides]
        self._found: list[tuple[float, float, int, int, Future[tuple[float, int]]]] = []
        self._threads = ThreadPoolExecutor(torch.get_num_threads())

    def add(self, region: Region, target: Tensor, preds: Tensor) -> float:
        """Score a tile; both tensors are `(C, *S)` in [0, 1] and have `reach` pixels after it.

        At the end of an image, they end there. Gives the tile's summed squared error; raises
        `ValueError` for tensors of two shapes.
        """
        if target.shape != preds.shape:
            raise ValueError(f"{tuple(target.shape)} and {tuple(preds.shape)}: must be one shape")
        box, around = with_margin(region), with_margin(region, SSIM_REACH)
        per_pixel = squared_error(target[box], preds[box])
        valid, n_pixels, n_inner = None, per_pixel.numel(), self._inside(region, per_pixel).numel()
        if self._mask is not None:
            whole = ((low, low + n) for (low, _), n in zip(region, target.shape[1:], strict=True))
            valid = torch.from_numpy(self._mask.valid(tuple(whole)))
            preds, counted = torch.where(valid, preds, target), valid[box[1:]]
            per_pixel = per_pixel.where(counted, 0)
            n_pixels, n_inner = int(counted.sum()), int(self._inside(region, counted).sum())
        pair = target[around].numpy(), preds[around].numpy()
        if len(self._found) >= _MOST_WAITING:
            self._found[-_MOST_WAITING][-1].result()
        inner, sse = float(self._inside(region, per_pixel).sum()), float(per_pixel.sum())
        windows = self._threads.submit(
            ssim_sum, *pair, None if valid is None else valid[around[1:]]
        )
        self._found.append((sse, inner, n_pixels, n_inner, windows))
        for name, metric in self._metrics.items():
            near = with_margin(region, metric.halo)
            own = preds[near].clone(), target[near].clone()  # which it may change
            self._attempt(name, metric.update, *own, region, self._sides)
        return sse

    def _inside(self, region: Region, values: Tensor) -> Tensor:
        """The values `(*S)` of a tile at pixels that are not beside a border between patches."""
        for axis, ((first, end), pixels) in enumerate(zip(region, self._inner, strict=True)):
            inside = pixels[(pixels >= first) & (pixels < end)]
            values = values.index_select(axis, inside - first)
        return values

    def scores(self, ranks: Communicator = SINGLE_PROCESS) -> dict[str, float | None]:
        """Scores of the tiles of all ranks, by their names in the report.

        PSNR is infinite if all is equal; `psnr_dtype_db` is over the type's range, where the data's
        is another part of it. SSIM is the mean over channels and full windows, and None
        for a volume or a side below 11 pixels. The seam ratio is the mean squared error at borders
        between patches over that elsewhere (1 is without seams), and None without such a border,
        other pixels or error. A metric that is undefined or has failed is None.
        """
        with self._threads:
            own = [(*found, *similarity.result()) for *found, similarity in self._found]
        columns = list(zip(*gather_items(ranks, own), strict=True))
        sse, inner_sse, n_pixels, n_inner, similarity, n_windows = map(math.fsum, columns)
        self._failed.update(*ranks.gather(set(self._failed)))  # nobody waits for their state
        has_ratio = n_inner not in (0, n_pixels) and inner_sse != 0
        seam_mse = (sse - inner_sse) / max(1, n_pixels - n_inner)
        return {
            "psnr_db": psnr_of_sse(sse, self._n_channels * int(n_pixels)),
            "ssim": similarity / (self._n_channels * n_windows) if n_windows else None,
            "seam_ratio": seam_mse / (inner_sse / n_inner) if has_ratio else None,
            **{name: self._attempt(name, one.compute) for name, one in self._metrics.items()},
        }

    def _attempt(self, name: str, call: Callable[..., Any], *arguments: Any) -> float | None:
        try:
            score = None if name in self._failed else call(*arguments)
            return None if score is None else float(score)
        except Exception:  # whatever it is, what was fitted is worth more
            self._failed.add(name)
            _LOG.exception("metrics.%s: failed, so its score is null; all else is kept", name)
            return None


def score(
    grid: PatchGrid,
    target: Signal,
    rendered: Signal,
    track: Callable[[Sequence[Region]], Iterable[Region]] = iter,
    mask: Mask | None = None,
) -> dict[str, float | None]:
    """Scores of what is rendered, which is clipped, tile by tile, with the seconds it takes."""
    evaluation, seconds = Evaluation(grid, target.n_channels, mask=mask), 0.0
    for region in track(list(tiles(grid.sides, TILE_SIDE))):
        box = extended(region, grid.sides, evaluation.reach)
        began = time.perf_counter()
        preds = rendered.read(box).clamp_(0, 1).cpu()
        seconds += time.perf_counter() - began
        evaluation.add(region, target.read(box), preds)
    return evaluation.scores() | {"render_time_s": seconds}


def with_margin(region: Region, margin: int = 0) -> tuple[slice, ...]:
    """A region and pixels after it, as an index of a tensor `(C, *S)` that begins with it."""
    return (slice(None), *(slice(side + margin) for side in sides_of(region)))


def inner_pixels(side: int, patch_size: int) -> Tensor:
    """Positions along an axis that are not beside a border between patches."""
    position = torch.arange(side)
    first = (position % patch_size == 0) & (position > 0)
    last = (position % patch_size == patch_size - 1) & (position < side - 1)
    return position[~(first | last)]


def ssim_sum(
    source: NDArray[np.float32], reconstruction: NDArray[np.float32], valid: Tensor | None = None
) -> tuple[float, int]:
    """Sum of the SSIM over channels and full windows of two `(C, H, W)` images, and windows.

    Of windows with a pixel that is not `valid` none is counted. Wang et al. 2004
    (doi:10.1109/TIP.2003.819861): both in the unit range, Gaussian windows of 11 x 11 pixels, sigma
    1.5. None is in a volume.
    """
    if source.ndim > 3 or min(source.shape[1:]) <= SSIM_REACH:
        return 0.0, 0
    height = source.shape[1]
    bands = [slice(top, top + _BAND + SSIM_REACH) for top in range(0, height - SSIM_REACH, _BAND)]
    counted = [None if valid is None else _whole_windows(valid[band]) for band in bands]
    n_windows = sum(int(windows.sum()) for windows in counted if windows is not None)
    if valid is None:
        n_windows = math.prod(side - SSIM_REACH for side in source.shape[1:])
    total = sum(
        _band_sum(one[band], other[band], windows)
        for one, other in zip(source, reconstruction, strict=True)
        for band, windows in zip(bands, counted, strict=True)
    )
    return total, n_windows


def _band_sum(
    x: NDArray[np.float32], y: NDArray[np.float32], counted: Valid | None = None
) -> float:
    """The sum for some rows of one channel.

    Of s = x + y and d = x - y only means and mean squares are needed:
    4 mean(x) mean(y) = mean(s)^2 - mean(d)^2, and likewise for the covariance.
    """
    # A variance is the small difference of two large numbers, unless the mean is near 0.
    middle = x.mean()
    s, d = (x - middle) + (y - middle), x - y
    s_mean, d_mean = _window_means(s), _window_means(d)
    s_var, d_var = _window_means(s * s) - s_mean**2, _window_means(d * d) - d_mean**2
    s_mean += 2 * middle
    s_mean *= s_mean
    d_mean *= d_mean
    luminance = ((s_mean - d_mean) / 2 + _C1) / ((s_mean + d_mean) / 2 + _C1)
    structure = ((s_var - d_var) / 2 + _C2) / ((s_var + d_var) / 2 + _C2)
    similarity = luminance * structure
    return float((similarity if counted is None else similarity[counted]).sum(dtype=np.float64))


def _whole_windows(valid: Tensor) -> Valid:
    """Which windows have no pixel that is not valid."""
    kernel, edge = np.ones((SSIM_REACH + 1,) * 2, np.uint8), SSIM_REACH // 2
    return cv2.erode(valid.byte().numpy(), kernel)[edge:-edge, edge:-edge] > 0


def _window_means(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    kernel = cv2.getGaussianKernel(SSIM_REACH + 1, _SIGMA, cv2.CV_32F)
    edge = SSIM_REACH // 2
    return np.asarray(cv2.sepFilter2D(plane, -1, kernel, kernel)[edge:-edge, edge:-edge])
