"""MS-SSIM by tiles against torchmetrics' of the whole image."""

import json
from pathlib import Path

import pytest
import torch
from in_process import run
from ms_ssim import MultiScaleSSIM
from tiled import OPTIONS, images, tiled
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

import miner
from miner.images.source import open_image


def reference(target: torch.Tensor, preds: torch.Tensor) -> float:
    pair = preds[None].double(), target[None].double()
    return float(multiscale_structural_similarity_index_measure(*pair, data_range=1.0))


@pytest.mark.parametrize(
    ("sides", "side"),  # 30 and 100 are no multiples of 16
    [
        *(((177, 301), side) for side in (30, 100, 400)),
        *(((176, 176), 176), ((191, 200), 100), ((320, 176), 30)),
    ],
)
def test_tiles_give_what_torchmetrics_gives_for_the_whole(
    sides: tuple[int, int], side: int
) -> None:
    target, preds = images(2, *sides)
    found = tiled(MultiScaleSSIM(), target, preds, side)
    assert found == pytest.approx(reference(target, preds), abs=1e-8)


def test_equal_images_have_one_and_unlike_ones_none_left() -> None:
    target, _ = images(1, 180, 200)
    assert tiled(MultiScaleSSIM(), target, target, 64) == pytest.approx(1, abs=1e-12)
    checks = (torch.arange(180)[:, None] + torch.arange(200)).remainder(2)[None].float()
    assert tiled(MultiScaleSSIM(), checks, 1 - checks, 64) == 0  # no negative power


@pytest.mark.parametrize("shape", [(1, 175, 300), (1, 300, 175), (1, 180, 180, 2)])
def test_a_small_image_and_a_volume_have_none(shape: tuple[int, ...]) -> None:
    assert tiled(MultiScaleSSIM(), *images(*shape), 200) is None


def test_report_has_it_of_what_is_stored_or_null_with_a_note(tmp_path: Path) -> None:
    large = ("image.crop_px=200", "patch_size=20")
    report = run(tmp_path / "run", OPTIONS, "metrics=ms_ssim", *large)
    source = torch.from_numpy(open_image("sample:camera", 2**20, 200).read())
    rendered = torch.from_numpy(miner.load(tmp_path / "run").render())
    assert report["ms_ssim"] == pytest.approx(reference(source, rendered), abs=1e-6)
    run(tmp_path / "small", OPTIONS, "metrics=ms_ssim")
    small = json.loads((tmp_path / "small" / "report.json").read_text())
    assert small["ms_ssim"] is None
    assert [note for note in small["notes"] if note.startswith("ms_ssim is undefined")]
