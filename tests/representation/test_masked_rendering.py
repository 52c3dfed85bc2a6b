"""A representation has no data where its source had none, whatever renders or stores it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from damaged_bytes import damaged
from fake_device import FAKE, FakeDevice
from hypothesis import given, settings
from samples import make_spec, random_representation, refused

from miner.images.metadata import Metadata
from miner.images.pixel_format import PixelFormat
from miner.representation import Representation, load
from miner.signals.mask import Mask
from miner.signals.regions import whole
from miner.support.errors import ImageError, RepresentationError

SIDES = (23, 30)
VALID = np.random.default_rng(0).random(SIDES) > 0.2
VALID[:9, 11:] = False
MASK = Mask.of_parts(SIDES, [(whole(SIDES), VALID)])
PLAIN = make_spec(SIDES)
FLOATS = replace(PixelFormat.of_values("float32", 2, (-3, 5)), metadata=Metadata(nodata="-9999"))
SHOWN = random_representation(replace(PLAIN, mask=MASK))
FULL = Representation(PLAIN, SHOWN.shards)


def check_masked(found: np.ndarray, expected: np.ndarray, valid: np.ndarray) -> None:
    """NaN in all channels `(C, *S)` where there is no data, and the same bits elsewhere."""
    np.testing.assert_array_equal(found, np.where(valid, expected, np.nan))


def footprint(valid: np.ndarray, side: int) -> np.ndarray:
    """Whether any pixel is data that a pixel of a coarser level stands for."""
    shape = [math.ceil(n / side) for n in valid.shape]
    found = np.zeros(shape, bool)
    for row, column in np.ndindex(*shape):
        box = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
        found[row, column] = valid[box].any()
    return found


@pytest.mark.parametrize("level", [0, 1, 2])
def test_levels_are_nan_where_all_is_masked_that_a_pixel_stands_for(level: int) -> None:
    valid = footprint(VALID, 2**level)
    check_masked(SHOWN.render(level), FULL.render(level), valid)
    region = ((1, 5), (2, 7))
    part = valid[1:5, 2:7]
    check_masked(SHOWN.render(level, region), FULL.render(level, region), part)
    assert np.isnan(SHOWN.render(level)).any()


def test_arrays_and_parts_are_nan_where_there_is_no_data() -> None:
    check_masked(np.asarray(SHOWN), FULL.render(), VALID)
    check_masked(SHOWN[:, 5:12, ::3], FULL[:, 5:12, ::3], VALID[5:12, ::3])
    out = np.zeros((2, *SIDES), np.float32)
    check_masked(SHOWN.render(out=out), FULL.render(), VALID)


@pytest.mark.parametrize("size", [(46, 60), (17, 41), (5, 7)])
def test_other_sizes_are_nan_where_the_pixel_at_a_centre_is_masked(size: tuple[int, int]) -> None:
    rows, columns = (
        ((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip(size, SIDES, strict=True)
    )
    valid = VALID[np.ix_(rows, columns)]
    check_masked(SHOWN.render(size=size), FULL.render(size=size), valid)


def test_points_are_nan_in_masked_pixels_and_gradients_finite() -> None:
    pixels = torch.tensor([(row, column) for row in range(23) for column in range(30)])
    valid = VALID[tuple(pixels.T.numpy())]
    check_masked(SHOWN.at_pixels(pixels).T.numpy(), FULL.at_pixels(pixels).T.numpy(), valid)
    xy = (2 * (pixels.flip(1) + torch.rand(690, 2).double()) / torch.tensor([30, 23]) - 1).clamp(
        -1, 1
    )
    xy.requires_grad_()
    values = SHOWN(xy)
    with torch.no_grad():
        check_masked(values.T.numpy(), FULL(xy).T.numpy(), valid)
    values.nansum().backward()
    assert xy.grad is not None
    assert bool(xy.grad.isfinite().all())
    assert bool(xy.grad[torch.from_numpy(valid)].any())


def test_a_module_is_nan_where_there_is_no_data_and_trains() -> None:
    module = SHOWN.to_module()
    rendered = module.render()
    check_masked(rendered.detach().numpy(), FULL.to_module().render().detach().numpy(), VALID)
    rendered[~rendered.isnan()].sum().backward()
    assert all(one.grad is None or bool(one.grad.isfinite().all()) for one in module.parameters())
    assert module.representation().spec.mask is MASK


def test_another_device_masks_the_same_pixels() -> None:
    with FakeDevice():
        check_masked(SHOWN.render(device=FAKE), FULL.render(), VALID)


def test_files_have_the_no_data_value_of_the_source(tmp_path: Path) -> None:
    shown = Representation(replace(SHOWN.spec, pixel_format=FLOATS), SHOWN.shards)
    shown.render(out=tmp_path / "a.tif")
    expected = Representation(replace(PLAIN, pixel_format=FLOATS), SHOWN.shards).render()
    found = tifffile.imread(tmp_path / "a.tif").transpose(2, 0, 1)
    np.testing.assert_array_equal(found[:, ~VALID], -9999)
    np.testing.assert_allclose(found[:, VALID], expected[:, VALID], rtol=1e-6)


@pytest.mark.parametrize("shown", [SHOWN, FULL])
def test_networks_that_give_nan_are_not_no_data(tmp_path: Path, shown: Representation) -> None:
    (shard, *_) = shown.shards[0]
    stored = {
        width: {name: torch.full_like(one, torch.nan) for name, one in of_width.items()}
        for width, of_width in shard.stored.items()
    }
    diverged = Representation(shown.spec, {0: [replace(shard, stored=stored)]})
    with pytest.raises(ImageError, match="values are NaN: the fit has probably diverged"):
        diverged.render(out=tmp_path / "a.tif")


def test_a_picture_is_white_where_there_is_no_data() -> None:
    import cv2

    png = SHOWN._repr_png_()
    assert png is not None
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    factor = picture.shape[0] // 23
    assert (picture[::factor, ::factor][~VALID] == 255).all()


def test_a_stored_mask_is_read_by_numpy_alone(tmp_path: Path) -> None:
    SHOWN.save(tmp_path)
    with np.load(tmp_path / "mask.npz") as archive:
        bits = np.unpackbits(archive["valid"], axis=-1, count=30)
    np.testing.assert_array_equal(bits, VALID)
    loaded = load(tmp_path)
    np.testing.assert_array_equal(loaded.render(), SHOWN.render())
    assert loaded.bits_per_pixel == SHOWN.bits_per_pixel > FULL.bits_per_pixel
    assert f"{(~VALID).sum()} of 690 pixels are masked" in repr(loaded)
    FULL.save(tmp_path)  # in its place
    assert not (tmp_path / "mask.npz").exists()
    np.testing.assert_array_equal(load(tmp_path).render(), FULL.render())


def test_a_volume_has_a_mask(tmp_path: Path) -> None:
    sides = (9, 13, 6)
    valid = np.random.default_rng(0).random(sides) > 0.5
    valid[:, :8] = False
    mask = Mask.of_parts(sides, [(whole(sides), valid)])
    shown = random_representation(replace(make_spec(sides), mask=mask))
    found = load(shown.save(tmp_path)).render()
    check_masked(found, Representation(make_spec(sides), shown.shards).render(), valid)


def test_scores_are_of_pixels_with_data_in_both() -> None:
    rendered = FULL.render()
    target = rendered.copy()
    target[:, ~VALID] = 0  # which do not count
    assert SHOWN.score(target)["psnr_db"] > 100
    assert SHOWN.score(SHOWN.render())["psnr_db"] > 100
    (left_out, wrong), n_values = np.argwhere(VALID)[[5, 90]].tolist(), 2 * (VALID.sum() - 1)
    target[:, *left_out] = np.nan
    target[0, *wrong] = 1 - np.round(rendered[0, *wrong])
    error = float(target[0, *wrong] - rendered[0, *wrong]) ** 2
    assert SHOWN.score(target)["psnr_db"] == pytest.approx(-10 * math.log10(error / n_values), 1e-4)


@pytest.mark.parametrize("n_examples", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_damaged_mask_is_refused_or_harmless(tmp_path: Path, n_examples: int) -> None:
    path = SHOWN.save(tmp_path) / "mask.npz"
    other = random_representation(
        replace(make_spec((3, 2), n_levels=1), mask=Mask.of_parts((3, 2), []))
    )
    another = (other.save(tmp_path / "other") / "mask.npz").read_bytes()

    @settings(max_examples=n_examples)
    @given(damaged(path.read_bytes(), another))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            loaded = load(tmp_path)
        except RepresentationError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert loaded.spec.mask is not None
            np.testing.assert_array_equal(loaded.spec.mask.bits, MASK.bits)

    check()


def test_masks_that_are_none_are_refused(tmp_path: Path) -> None:
    path = SHOWN.save(tmp_path) / "mask.npz"
    np.savez_compressed(path, valid=MASK.bits[:5])
    refused(
        tmp_path, r"mask.npz: damaged mask \(not the bits of \(23, 30\) pixels\); copy it again"
    )
    np.savez_compressed(path, valid=~MASK.bits)
    refused(tmp_path, r"damaged mask \(its checksum does not match its content\)")
    np.savez_compressed(path, valid=np.array([None] * 3), allow_pickle=True)
    refused(tmp_path, "not the bits")
    path.write_bytes(bytes(2**20))
    refused(tmp_path, "no plain file of about 92 bytes at most")
    path.unlink()
    refused(tmp_path, "damaged mask")
    path.mkdir()
    refused(tmp_path, "no plain file")


def test_a_manifest_cannot_hold_a_mask(tmp_path: Path) -> None:
    manifest = json.loads((SHOWN.save(tmp_path) / "manifest.json").read_text())
    assert manifest["mask"] == MASK.sha256
    assert "mask" not in manifest["spec"]
