"""A metric of torchmetrics in a class of ten lines."""

from pathlib import Path

import numpy as np
import pytest
from correlation import Correlation
from in_process import run
from tiled import OPTIONS, images, tiled

import miner
from miner.images.source import open_image


@pytest.mark.parametrize("side", [16, 64])
def test_tiles_give_what_the_whole_image_gives(side: int) -> None:
    target, preds = images(3, 40, 55)
    expected = np.corrcoef(target.double().numpy().ravel(), preds.double().numpy().ravel())[0, 1]
    assert tiled(Correlation(), target, preds, side) == pytest.approx(expected, rel=1e-5)


def test_report_has_it_of_what_is_stored(tmp_path: Path) -> None:
    report = run(tmp_path / "run", OPTIONS, "metrics=correlation")
    source = open_image("sample:camera", 2**20, 40).read()
    rendered = miner.load(tmp_path / "run").render()
    expected = np.corrcoef(source.ravel(), rendered.ravel())[0, 1]
    assert report["correlation"] == pytest.approx(expected, rel=1e-4)
