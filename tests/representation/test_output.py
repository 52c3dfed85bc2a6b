"""Rendering at other sizes, into arrays and files, and scores against images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from samples import make_spec, random_representation
from skimage.metrics import peak_signal_noise_ratio

import miner
from miner.images.pixel_format import PixelFormat
from miner.representation import Representation
from miner.signals import regions
from miner.support.errors import ImageError

SHOWN = random_representation(make_spec((23, 30)))
VOLUME = random_representation(make_spec((9, 5, 6)))


def grey() -> Representation:
    pixel_format = PixelFormat.of_values("uint8", 1)
    return random_representation(
        replace(make_spec((23, 30)), n_channels=1, pixel_format=pixel_format)
    )


def at(shown: Representation, region: regions.Region, size: tuple[int, ...]) -> np.ndarray:
    """Level 0 in a region, evaluated at the centres of `size` pixels."""
    sides = shown.spec.sides
    axes = [
        (low + (torch.arange(n).double() + 0.5) * (high - low) / n) * 2 / side - 1
        for (low, high), n, side in zip(region, size, sides, strict=True)
    ]
    xy = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flip(-1)
    return shown(xy).movedim(-1, 0).numpy()


@pytest.mark.parametrize(
    ("arguments", "region", "size"),
    [
        ({"scale": 2.5}, ((0, 23), (0, 30)), (58, 75)),
        ({"scale": 0.3}, ((0, 23), (0, 30)), (7, 9)),
        ({"size": (40, 7)}, ((0, 23), (0, 30)), (40, 7)),
        ({"scale": 3, "region": ((3, 20), (11, 12))}, ((3, 20), (11, 12)), (51, 3)),
        ({"scale": 1e-9}, ((0, 23), (0, 30)), (1, 1)),
    ],
    ids=str,
)
def test_networks_are_evaluated_on_the_resized_grid(
    arguments: dict[str, Any], region: regions.Region, size: tuple[int, int]
) -> None:
    rendered = SHOWN.render(**arguments)
    assert rendered.shape == (2, *size) and rendered.dtype == np.float32
    np.testing.assert_allclose(rendered, at(SHOWN, region, size), rtol=0, atol=1e-5)


def test_a_volume_and_a_coarser_level_are_resized_too() -> None:
    expected = at(VOLUME, ((0, 9), (0, 5), (0, 6)), (4, 10, 6))
    np.testing.assert_allclose(VOLUME.render(size=(4, 10, 6)), expected, rtol=0, atol=1e-5)
    third = SHOWN.render(1, scale=3)  # every third pixel's centre is that of a pixel
    np.testing.assert_allclose(third[:, 1::3, 1::3], SHOWN.render(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("arguments", [{"scale": 1}, {"scale": 1.0}, {"size": (23, 30)}])
def test_the_same_size_has_the_same_bits(arguments: dict[str, Any]) -> None:
    assert np.array_equal(SHOWN.render(**arguments), SHOWN.render())


def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = SHOWN.render(scale=2)
    tiles = regions.tiles
    monkeypatch.setattr("miner.representation.output.tiles", lambda sides: tiles(sides, 25))
    np.testing.assert_allclose(SHOWN.render(scale=2), whole, rtol=0, atol=1e-6)
    out = np.zeros((2, 23, 30), np.float32)
    assert SHOWN.render(out=out) is out
    assert np.array_equal(out, SHOWN.render())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0}, "scale=0: must be above 0"),
        ({"scale": float("nan")}, "scale=nan: must be above 0"),
        ({"scale": 2, "size": (3, 4)}, r"scale=2 and size=\(3, 4\): give one"),
        ({"size": (3,)}, r"size=\(3,\): must be 2 sides"),
        ({"size": (3, 0)}, r"size=\(3, 0\): must be 2 sides of 1 to 2"),
        ({"size": 50}, "size=50: must be 2 sides"),
        ({"size": (2.5, 9)}, r"size=\(2.5, 9\): must be 2 sides"),
        ({"level": 3, "scale": 2}, "level=3: must be 0 "),
        ({"region": (slice(0, 5), slice(0, 5))}, r"must lie within \(23, 30\), as \(first, end\)"),
        ({"region": ((0, 2.5), (0, 5))}, "must lie within"),
        ({"region": ((0, 5),)}, "must lie within"),
        ({"device": "gpu"}, "device=gpu: must be cpu, or cuda or cuda:1 where it is"),
        ({"device": "cuda:99", "scale": 2}, "device=cuda:99: must be cpu, or cuda"),
        ({"out": torch.zeros(2, 23, 30)}, "out of torch.float32 .*must be an array of NumPy"),
        ({"out": [1, 2]}, "out of list .*must be an array of NumPy of floats"),
        ({"region": ((0, 24), (0, 1)), "scale": 2}, "must lie within"),
        ({"out": np.zeros((2, 23, 31), np.float32)}, r"NumPy of floats, \(2, 23, 30\)"),
        ({"out": np.zeros((2, 23, 30), np.uint8)}, "out of uint8"),
    ],
    ids=str,
)
def test_what_is_not_possible_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SHOWN.render(**arguments)


def test_a_file_holds_what_is_rendered(tmp_path: Path) -> None:
    path, shown = tmp_path / "new" / "out.png", grey()
    assert shown.render(scale=2, out=path) == path
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(pixels, np.rint(255 * shown.render(scale=2)[0]))
    shown.render(1, ((2, 5), (3, 4)), out=str(path))
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(pixels, np.rint(255 * shown.render(1)[0, 2:5, 3:4]))


def test_files_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\.docx"):
        grey().render(out=tmp_path / "out.docx")
    with pytest.raises(ValueError, match="a volume of 3 axes"):
        VOLUME.render(out=tmp_path / "out.tif")
    assert list(tmp_path.iterdir()) == []


def test_scores_of_an_array_in_the_unit_range_and_of_bytes() -> None:
    shown = grey()
    target = np.random.default_rng(0).random((1, 23, 30), dtype=np.float32)
    found = shown.score(target)
    expected = peak_signal_noise_ratio(target, shown.render(), data_range=1)
    assert found["psnr_db"] == pytest.approx(expected, abs=1e-4)
    assert found.keys() == {"psnr_db", "ssim", "seam_ratio", "render_time_s"}
    in_bytes = np.rint(255 * target).astype(np.uint8)
    for one, other in [
        (target, torch.from_numpy(target[0])),
        (target, target.transpose(1, 2, 0)),
        (in_bytes, in_bytes.astype(np.float32) / 255),
        (in_bytes, in_bytes[0, ..., None]),
        (in_bytes > 99, 255 * (in_bytes > 99).astype(np.uint8)),
    ]:
        assert shown.score(one)["ssim"] == shown.score(other)["ssim"]


def test_integers_that_are_fitted_as_floats_are_scored_as_they_are() -> None:
    array = np.random.default_rng(0).integers(-500, 500, (3, 9, 11), np.int16)
    settings: Any = {"patch_size": 8, "fitting": {"max_steps": 1}}
    fitted = miner.fit(array, progress=False, **settings)
    for one in (array, torch.tensor(array.astype(np.float32), requires_grad=True)):
        assert fitted.score(one)["psnr_db"] == pytest.approx(fitted.psnr_db, abs=1e-4)
    with pytest.raises(ValueError, match="image of uint8: must be of float32"):
        fitted.score(array.astype(np.uint8))


def test_scores_of_a_file(tmp_path: Path) -> None:
    shown, path = grey(), tmp_path / "out.png"
    assert shown.score(shown.render(out=path))["psnr_db"] > 50  # rounded to bytes
    with pytest.raises(ValueError, match=r"out.png: has 1 channels of \(12, 15\) pixels, and"):
        shown.score(str(shown.render(1, out=path)))
    with pytest.raises(ImageError, match="does not exist"):
        shown.score(tmp_path / "nothing.png")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 23, 30), np.float32), r"image of shape \(3, 23, 30\): must be \(1, 23, 30\)"),
        (np.zeros((30, 23), np.float32), r"image of shape \(30, 23\)"),
        (np.zeros((23, 30), np.int64), "image of int64: must be of uint8, or of floats as"),
        (np.full((23, 30), 2.0), r"2.0: floats must lie in \[0, 1\]"),
    ],
)
def test_arrays_that_cannot_be_compared_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grey().score(array)
