"""The order in which the Triton steps see a block's pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from miner.fitting.initialization import pixel_subset
from miner.fitting.steps import StepSettings

_LEAST = 16  # pixels of a tile: a side of a product on tensor cores


def tile_of(n_pixels: int, most: int) -> int:
    """Pixels that are worked on at once."""
    return min(most, max(_LEAST, 1 << (n_pixels - 1).bit_length()))


@dataclass(frozen=True)
class Pixels:
    """An order `(P,)` in which the first tile has pixels from all over the patch."""

    order: Tensor
    n_tile: int

    @staticmethod
    def of(n_pixels: int, most_in_tile: int, device: torch.device) -> "Pixels":
        """Every so many pixels, then those beside them."""
        n_tile = tile_of(n_pixels, most_in_tile)
        pixels = torch.arange(n_pixels, device=device)
        return Pixels((pixels % -(-n_pixels // n_tile)).argsort(stable=True), n_tile)

    def of_points(self, encoded: Tensor) -> Tensor:
        """Encoded coordinates `(E, P)` as `(P, E)`."""
        return encoded[:, self.order].T.contiguous()

    def of_targets(self, targets: Tensor) -> Tensor:
        """Targets `(B, C, P)` as `(B, P, C)`."""
        return targets[:, :, self.order].transpose(1, 2).contiguous()


@dataclass(frozen=True)
class Draws:
    """The pixels that steps see: places in their order, `(steps, n)`, and how many, `(steps,)`."""

    places: Tensor
    counts: Tensor

    @staticmethod
    def of(pixels: Pixels, n_drawn: int, settings: StepSettings) -> "Draws":
        """Those of all steps, as the definition draws them."""
        place = pixels.order.cpu().argsort().to(torch.int32)
        places = torch.zeros(settings.n_steps, n_drawn, dtype=torch.int32)
        counts = torch.zeros(settings.n_steps, dtype=torch.int32)
        for step in range(settings.n_steps):
            drawn = place[pixel_subset(len(place), n_drawn, step, *settings.key)]
            places[step, : len(drawn)] = drawn
            counts[step] = len(drawn)
        device = pixels.order.device
        return Draws(places.to(device), counts.to(device))
