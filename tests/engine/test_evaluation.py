"""One pass over tiles: scores, previews and the tiles that are passed on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from miner.engine.evaluation import Evaluation, evaluate, level_preview
from miner.metrics.scores import psnr_db, squared_error
from miner.pyramids.pyramid import reduce
from miner.signals.regions import Region, slices
from miner.signals.signal import CPU, ArraySignal
from miner.visual.display import to_display


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


def evaluated(source: Tensor, values: Tensor) -> tuple[Evaluation, Tensor]:
    """Evaluate in tiles of 16 x 16 pixels; gives also the tiles, written to a tensor."""
    written = torch.full_like(values, -1)

    def write(tile: Region, rendered: Tensor) -> None:
        written[(slice(None), *slices(tile))] = rendered

    return evaluate(Known(values), ArraySignal(source.numpy()), write, tile_side=16), written


def test_tiles_make_up_the_clipped_image_its_scores_and_its_previews() -> None:
    source, values = pair(4, 40, 55)
    found, written = evaluated(source, values)
    assert torch.equal(written, values.clamp(0, 1))
    assert found.scores["psnr_db"] == pytest.approx(psnr_db(source, values), rel=1e-12)
    assert set(found.scores) == {"psnr_db", "ssim", "seam_ratio", "render_time_s"}
    assert np.array_equal(found.source, source.numpy())
    assert np.array_equal(found.rendered, written.numpy())
    expected = squared_error(source, values) / 4
    np.testing.assert_allclose(found.squared_error, expected, rtol=1e-6)


def test_channels_that_cannot_be_shown_are_left_out_of_previews() -> None:
    source, values = pair(6, 20, 20)
    found, _ = evaluated(source, values)
    assert np.array_equal(to_display(found.rendered), to_display(values.numpy()))
    assert len(found.source) == 3


def test_preview_of_a_level_is_clipped() -> None:
    _, values = pair(3, 40, 55)
    expected = reduce(values).clamp(0, 1).numpy()
    assert np.array_equal(level_preview(Known(values), 1, tile_side=16), expected)


def test_source_of_another_shape_is_rejected() -> None:
    source, values = pair(3, 20, 20)
    with pytest.raises(ValueError, match=r"source \(1, 20, 20\).*\(3, 20, 20\)"):
        evaluated(source[:1], values)
