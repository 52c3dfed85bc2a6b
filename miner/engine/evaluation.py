"""All that is said and shown of a finished fit, from one pass over the image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from miner.metrics.tile_metrics import Scores, score
from miner.representation import Representation
from miner.signals.regions import Region, tiles
from miner.signals.signal import CPU, Signal
from miner.visual.display import Preview, shown_channels
from miner.visual.plots import square_error


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores, and previews of an image of `sides`: at most 2048 pixels along a side.

    `source` and `rendered` are `(C, h, w)`, with the channels that can be shown; `squared_error`
    is `(h, w)`, the mean over all channels.
    """

    sides: tuple[int, ...]
    scores: Scores
    source: NDArray[np.float32]
    rendered: NDArray[np.float32]
    squared_error: NDArray[np.float32]


def evaluate(
    representation: Representation,
    source: Signal,
    on_tile: Callable[[Region, Tensor], None],
    device: torch.device = CPU,
) -> Evaluation:
    """Render level 0 of an image once, on the device, score it and make its previews.

    `on_tile` gets each tile, row-major, and its rendering, clipped: `(C, H, W)`.

    Raises:
        ValueError: the source has another shape than the representation.
    """
    sides = representation.spec.sides
    n_shown = len(shown_channels(representation.spec.n_channels))
    wanted, shown, error = (Preview(sides, n) for n in (n_shown, n_shown, 1))

    def see(tile: Region, original: Tensor, rendered: Tensor) -> None:
        on_tile(tile, rendered)
        picked = shown_channels(len(original))
        wanted.add(tile, original[picked])
        shown.add(tile, rendered[picked])
        square = square_error(original.numpy(), rendered.numpy())
        error.add(tile, torch.from_numpy(square).unsqueeze(0))

    scores = score(representation, source, see, device)
    return Evaluation(sides, scores, wanted.pixels, shown.pixels, error.pixels[0])


def level_preview(representation: Representation, level: int) -> NDArray[np.float32]:
    """A level as an image in small, `(C, h, w)` in the unit range, rendered tile by tile."""
    sides = representation.spec.level_sides[level]
    picked = shown_channels(representation.spec.n_channels)
    preview = Preview(sides, len(picked))
    for tile in tiles(sides):
        preview.add(tile, representation.reconstruct(level, tile)[picked].clamp_(0, 1))
    return preview.pixels
