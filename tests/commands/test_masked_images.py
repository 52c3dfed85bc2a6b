"""Images with pixels without data, from the file or array to all that a run leaves."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from in_process import composed
from runs import TINY, WITH_PICTURES, numbers, read_report, run_main, start_python

import miner
from miner.config.fingerprint import job_hash
from miner.evaluate import main as evaluate
from miner.render import main as render
from miner.signals.regions import whole
from miner.support.errors import ImageError

SIDES = (40, 56)
VALID = np.hypot(*np.mgrid[-20:20, -20:36]) < 24
VALID[5, 20] = False
SMALL = ("fitting.blocks_per_shard=4", "patch_size=8", "fitting.max_steps=20")


def elevations() -> np.ndarray:
    rows, columns = np.mgrid[:40, :56] / 8
    noise = np.random.default_rng(0).random(SIDES)
    values = 700 + 100 * np.sin(rows) * np.cos(columns) + 10 * noise
    return np.where(VALID, values, -9999).astype(np.float32)


def save_elevations(path: Path) -> None:
    tag = (42113, "s", 0, "-9999", True)
    tifffile.imwrite(path, elevations(), photometric="minisblack", extratags=[tag])


def save_mask(path: Path, valid: np.ndarray = VALID) -> None:
    cv2.imwrite(str(path), valid.astype(np.uint8))


def fit_file(folder: Path, run: str, *overrides: str) -> int:
    arguments = ("image.path=dem.tif", f"hydra.run.dir={run}", *SMALL, *overrides)
    return run_main(folder, *TINY, *arguments)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a file of elevations and, in `run`, a run of it."""
    folder = tmp_path_factory.mktemp("desk")
    save_elevations(folder / "dem.tif")
    save_mask(folder / "mask (1).png")
    assert fit_file(folder, "run", WITH_PICTURES) == 0
    yield folder


def test_a_run_scores_writes_and_says_what_is_data(desk: Path) -> None:
    report, said = read_report(desk / "run"), (desk / "run" / "run.log").read_text()
    n_masked = int((~VALID).sum())
    assert report["masked_pixels"] == n_masked
    assert f", {n_masked} of 2240 pixels are masked (no-data -9999) on cpu" in said
    low, high = elevations()[VALID].min(), elevations()[VALID].max()
    assert report["data_range"] == [low, high]
    written = tifffile.imread(desk / "run" / "reconstruction.tif")
    np.testing.assert_array_equal(written == -9999, ~VALID)
    error = (written - elevations())[VALID].astype(float) / (high - low)
    assert report["psnr_db"] == pytest.approx(-10 * np.log10(np.mean(error**2)), abs=1e-3)
    assert report["levels"][-1]["psnr_db"] == pytest.approx(report["psnr_db"], abs=1e-3)
    assert report["curve"]["psnr_db"][-1] == pytest.approx(report["psnr_db"], abs=1e-3)
    assert report["file_bytes"] == sum(
        path.stat().st_size for path in (desk / "run" / "representation").iterdir()
    )


def test_blocks_without_data_have_no_network_at_any_level(desk: Path) -> None:
    shown = miner.load(desk / "run")
    for level in range(shown.spec.n_levels):
        grid, side = shown.spec.grid(level), 8 << level
        for block in shown.active_blocks(level).tolist():
            row, column = grid.positions(torch.tensor([block]))[0].tolist()
            box = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
            assert VALID[box].any()
        is_coarsest = level == shown.spec.n_levels - 1
        assert len(shown.active_blocks(level)) < grid.n_blocks or is_coarsest


def test_blocks_that_miss_the_bound_do_so_in_pixels_with_data(desk: Path) -> None:
    report = read_report(desk / "run")
    written = tifffile.imread(desk / "run" / "reconstruction.tif")
    low, high = report["data_range"]
    error = np.where(VALID, (written - elevations()) / (high - low), np.nan) ** 2
    blocks = error.reshape(5, 8, 7, 8).transpose(0, 2, 1, 3).reshape(35, 64)
    means = np.array([np.nanmean(one) if np.isfinite(one).any() else 0 for one in blocks])
    bound = report["settings"]["config"]["fitting"]["max_mse"] * 10**0.03
    assert report["levels"][-1]["n_missed"] == (means > bound).sum() > 0


def test_pictures_are_white_where_there_is_no_data(desk: Path) -> None:
    picture = cv2.imread(str(desk / "run" / "error.png"), cv2.IMREAD_COLOR)
    factor = -(-1024 // 56)
    corner = (picture.shape[1] - 56 * factor) // 2  # a legend may be wider
    centres = picture[factor // 2 :: factor, corner + factor // 2 :: factor][:40, :56]
    np.testing.assert_array_equal((centres == 255).all(-1), ~VALID)
    blocks = cv2.imread(str(desk / "run" / "blocks.png"), cv2.IMREAD_COLOR)
    centres = blocks[2 + factor // 2 :: factor, factor // 2 - 2 - 56 * factor :: factor][:40]
    np.testing.assert_array_equal((centres == 255).all(-1), ~VALID)
    thumbnail = cv2.imread(str(desk / "run" / "thumbnails" / "reconstruction.webp"))
    assert (thumbnail[:, -10:] > 250).all() and not (thumbnail[18:22, 18:22] > 250).all()


def test_commands_know_what_is_data(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render([str(desk / "run"), str(tmp_path / "a.tif"), "--region", "0:40", "10:50"]) == 0
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif") == -9999, ~VALID[:, 10:50])
    assert render([str(desk / "run"), str(tmp_path / "b.tif"), "--level", "1"]) == 0
    coarse = VALID.reshape(20, 2, 28, 2).any((1, 3))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif") == -9999, ~coarse)
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        assert evaluate(["run"]) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines())
    report = read_report(desk / "run")
    for name in ("psnr_db", "ssim", "seam_ratio"):
        assert float(scores[name]) == pytest.approx(report[name], rel=1e-4)


def test_a_mask_file_and_a_given_value_are_as_the_tag(desk: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "dem.npy", elevations())
    save_mask(tmp_path / "mask (1).png")
    given = ("image.path=dem.npy", *SMALL)
    assert run_main(tmp_path, *TINY, *given, "hydra.run.dir=a", "image.nodata=-9999") == 0
    assert run_main(tmp_path, *TINY, *given, "hydra.run.dir=b", "image.mask=mask (1).png") == 0
    for one in ("a", "b"):
        for found, expected in zip(numbers(tmp_path / one), numbers(desk / "run"), strict=True):
            assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert read_report(tmp_path / one)["ssim"] == read_report(desk / "run")["ssim"]
    written = [tifffile.imread(tmp_path / one / "reconstruction.tif") for one in ("a", "b")]
    np.testing.assert_array_equal(written[0] == -9999, ~VALID)
    np.testing.assert_array_equal(np.isnan(written[1]), ~VALID)  # the file names no value


def test_a_run_goes_on_with_its_own_mask_alone(
    desk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_elevations(tmp_path / "dem.tif")
    save_mask(tmp_path / "mask.png")
    assert fit_file(tmp_path, "run", "image.mask=mask.png") == 0
    before = numbers(tmp_path / "run")
    (tmp_path / "run" / "report.json").unlink()
    (tmp_path / "run" / "representation" / "level00-chunk00001.safetensors").unlink()
    (tmp_path / "elsewhere").mkdir()
    assert run_main(tmp_path / "elsewhere", "resume=../run") == 0
    for found, expected in zip(numbers(tmp_path / "run"), before, strict=True):
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    capsys.readouterr()
    assert fit_file(tmp_path, "run", "image.mask=mask.png", "image.nodata=7") == 1
    assert "image.nodata: not set, now 7" in capsys.readouterr().err
    save_mask(tmp_path / "mask.png", ~VALID | (np.arange(56) < 9))
    assert fit_file(tmp_path, "run", "image.mask=mask.png") == 1
    assert "image.mask: " in capsys.readouterr().err
    save_mask(tmp_path / "mask.png", VALID.T)
    assert fit_file(tmp_path, "other", "image.mask=mask.png") == 1
    assert "'mask.png' has 40 x 56 pixels, and the image 'dem' 56 x 40" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_jobs_differ_by_their_masks(tmp_path: Path) -> None:
    save_mask(tmp_path / "a.png")
    save_mask(tmp_path / "b.png", ~VALID)
    shutil.copy(tmp_path / "a.png", tmp_path / "c.png")
    plain, *masked = (
        job_hash(composed(*([f"image.mask={tmp_path}/{name}.png"] if name else [])))
        for name in ("", "a", "b", "c")
    )
    assert masked[0] == masked[2]
    assert len({plain, *masked, job_hash(composed("image.nodata=0"))}) == 4


@pytest.mark.slow
def test_two_ranks_have_the_bits_of_one(desk: Path) -> None:
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "fitting.in_memory_mib=0", WITH_PICTURES)
    arguments = ("image.path=dem.tif", "hydra.run.dir=two", *SMALL, *ddp)
    ended = start_python(desk, "-m", "miner.run", *TINY, *arguments)
    assert ended.status == 0, ended.output
    for found, expected in zip(numbers(desk / "two"), numbers(desk / "run"), strict=True):
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    one, two = (tifffile.imread(desk / run / "reconstruction.tif") for run in ("run", "two"))
    np.testing.assert_array_equal(one, two)
    assert read_report(desk / "two")["psnr_db"] == read_report(desk / "run")["psnr_db"]


def fit(array: Any, **settings: Any) -> miner.Representation:
    tiny = {"patch_size": 8, "fitting.max_steps": 3, "model.width": 4, "progress": False}
    return miner.fit(array, **(tiny | settings))


NAN = np.where(VALID, elevations(), np.nan)


@pytest.mark.parametrize(
    ("image", "settings"),
    [
        (NAN, {}),
        (torch.from_numpy(NAN).bfloat16(), {}),
        (torch.tensor(NAN, requires_grad=True), {}),
        ([torch.tensor(NAN, requires_grad=True)] * 2, {"axes": "CHW"}),
        (np.ma.masked_array(elevations(), ~VALID), {}),
        (np.ma.masked_array(elevations().astype(np.int16), ~VALID), {}),
        (elevations(), {"mask": VALID}),
        (elevations(), {"mask": torch.from_numpy(VALID)}),
        (elevations(), {"mask": 255 * VALID.astype(np.uint8)}),
        (elevations(), {"image": {"nodata": -9999}}),
        (np.stack([NAN] * 3, -1), {"axes": "HWC"}),
    ],
)
def test_arrays_are_masked(image: Any, settings: dict[str, Any]) -> None:
    shown = fit(image, **settings)
    assert shown.report is not None
    assert shown.report["masked_pixels"] == (~VALID).sum()
    for channel in np.asarray(shown):
        np.testing.assert_array_equal(np.isnan(channel), ~VALID)
    low, high = shown.spec.pixel_format.data_range
    assert 550 < low < high < 850


def test_a_mask_may_be_a_file(tmp_path: Path) -> None:
    save_mask(tmp_path / "mask.png")
    for mask in (tmp_path / "mask.png", str(tmp_path / "mask.png")):
        assert fit(elevations(), mask=mask).spec.mask is not None


def test_a_volume_is_masked() -> None:
    values = np.random.default_rng(0).random((9, 12, 20), np.float32)
    values[:, 4:, 3:] = np.nan
    shown = fit(values, axes="DHW", patch_size=4)
    np.testing.assert_array_equal(np.isnan(np.asarray(shown)[0]), np.isnan(values))
    assert len(shown.active_blocks(0)) < shown.spec.grid(0).n_blocks / 2


def test_what_was_fitted_is_scored_over_its_data() -> None:
    shown = fit(NAN)
    assert shown.report is not None
    for image in (NAN, torch.from_numpy(NAN), torch.tensor(NAN, requires_grad=True)[None]):
        assert shown.score(image)["psnr_db"] == pytest.approx(shown.report["psnr_db"], abs=1e-3)
    assert np.isfinite(shown.score(torch.from_numpy(NAN).bfloat16())["psnr_db"])
    assert shown.spec.mask is not None
    assert shown.spec.mask.valid(whole(SIDES)).sum() == VALID.sum()


@pytest.mark.parametrize(
    ("image", "mask", "words"),
    [
        (NAN * np.nan, None, ["holds no data"]),
        (NAN, VALID.T, ["mask of shape (56, 40)", "the image has (40, 56)"]),
        (NAN, "nothing.png", ["'nothing.png' does not exist"]),
        (elevations(), np.zeros(SIDES), ["holds no data", "mask fewer"]),
        (np.ma.masked_all((5, 6)), None, ["holds no data"]),
        (elevations() + 1j, None, ["complex", "np.abs of it, or two channels"]),
        (np.stack([NAN, elevations()], -1), None, ["NaN or infinite", "channels all are NaN"]),
    ],
)
def test_masks_that_make_no_sense_are_refused(image: Any, mask: Any, words: list[str]) -> None:
    with pytest.raises(ImageError) as caught:
        fit(image, mask=mask)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
