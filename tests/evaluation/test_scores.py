"""One pass over tiles: scores, previews and what the pass hands on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from miner.engine import evaluation as evaluate_module
from miner.engine.evaluation import evaluate, level_preview
from miner.metrics import tile_metrics as scores_module
from miner.metrics.squared_error import psnr_db
from miner.metrics.tile_metrics import score
from miner.pyramids.resample import reduce
from miner.signals.regions import Region, slices, tiles
from miner.signals.signal import CPU, ArraySignal
from miner.visual.display import to_display
from miner.visual.plots import square_error


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


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scores_module, evaluate_module):
        monkeypatch.setattr(module, "tiles", lambda sides: tiles(sides, 16))


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(shape, generator=generator)
    return source, source + 0.1 * torch.randn(shape, generator=generator)


def image_signal(values: Tensor) -> ArraySignal:
    return ArraySignal(values.numpy())


def test_psnr_is_that_of_the_whole() -> None:
    source, values = pair(3, 40, 55)
    scores = score(Known(values), image_signal(source), lambda *tile: None)
    assert scores.psnr_db == pytest.approx(psnr_db(source, values), rel=1e-12)


def test_tiles_make_up_the_clipped_image() -> None:
    source, values = pair(2, 40, 55)
    written = torch.full_like(values, -1)

    def write(tile: Region, rendered: Tensor) -> None:
        written[(slice(None), *slices(tile))] = rendered

    evaluate(Known(values), image_signal(source), write)
    assert torch.equal(written, values.clamp(0, 1))


def test_small_image_is_evaluated_as_it_is() -> None:
    source, values = pair(4, 40, 55)
    found = evaluate(Known(values), image_signal(source), lambda *tile: None)
    assert np.array_equal(found.source, source.numpy())
    assert np.array_equal(found.rendered, values.clamp(0, 1).numpy())
    assert np.array_equal(found.squared_error, square_error(source.numpy(), values.numpy()))


def test_channels_that_cannot_be_shown_are_left_out_of_previews() -> None:
    source, values = pair(6, 20, 20)
    found = evaluate(Known(values), image_signal(source), lambda *tile: None)
    assert np.array_equal(to_display(found.rendered), to_display(values.numpy()))
    assert len(found.source) == 3


def test_level_is_shown_clipped() -> None:
    _, values = pair(3, 40, 55)
    assert np.array_equal(level_preview(Known(values), 1), reduce(values).clamp(0, 1).numpy())


def test_source_of_another_shape_is_rejected() -> None:
    source, values = pair(3, 20, 20)
    with pytest.raises(ValueError, match=r"source \(1, 20, 20\).*\(3, 20, 20\)"):
        score(Known(values), image_signal(source[:1]), lambda *tile: None)
