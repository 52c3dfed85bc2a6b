"""One pass over tiles: scores and what is rendered."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from miner.callbacks.pictures import level_preview
from miner.metrics.scores import Evaluation, extended, psnr_db, squared_error
from miner.pyramids.resample import reduce
from miner.signals.regions import Region, slices, tiles
from miner.signals.signal import CPU, ArraySignal


class Known:
    """Stands for a representation of which every level's values, not clipped, are known."""

    def __init__(self, values: Tensor) -> None:
        self.levels = [values, reduce(values)]
        sides = [tuple(level.shape[1:]) for level in self.levels]
        self.spec = SimpleNamespace(
            sides=sides[0], level_sides=sides, n_channels=len(values), patch_size=8
        )

    def reconstruct(self, level: int, region: Region, device: torch.device = CPU) -> Tensor:
        return self.levels[level][(slice(None), *slices(region))].clone()


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(shape, generator=generator)
    return source, source + 0.1 * torch.randn(shape, generator=generator)


def evaluated(source: Tensor, values: Tensor) -> tuple[dict[str, Any], Tensor, Tensor]:
    """Scores in tiles of 16 x 16 pixels, the rendering, and the squared error."""
    rendered, errors = torch.full_like(values, -1), torch.full(values.shape[1:], -1.0)
    evaluation = Evaluation(Known(values))
    signal = ArraySignal(source.numpy())
    for region in tiles(signal.sides, 16):
        tile = evaluation.add(region, signal.read(extended(region, signal.sides)))
        assert torch.equal(tile["target"], source[(slice(None), *slices(region))])
        rendered[(slice(None), *slices(region))] = tile["preds"]
        errors[slices(region)] = tile["squared_error"].float()
    return evaluation.scores, rendered, errors


def test_tiles_make_up_the_clipped_image_and_its_scores() -> None:
    source, values = pair(4, 40, 55)
    scores, rendered, errors = evaluated(source, values)
    assert torch.equal(rendered, values.clamp(0, 1))
    assert scores["psnr_db"] == pytest.approx(psnr_db(source, values), rel=1e-12)
    assert set(scores) == {"psnr_db", "ssim", "seam_ratio", "render_time_s"}
    np.testing.assert_allclose(errors, squared_error(source, values), rtol=1e-6)


def test_preview_of_a_level_is_clipped() -> None:
    _, values = pair(3, 40, 55)
    expected = reduce(values).clamp(0, 1).numpy()
    assert np.array_equal(level_preview(Known(values), 1, tile_side=16), expected)
