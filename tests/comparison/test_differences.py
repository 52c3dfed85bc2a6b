"""Paired differences against numbers worked out by hand, and against SciPy."""

from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run
from scipy import stats

from miner.comparison.comparison import Comparison
from miner.comparison.differences import Difference, compared, paired_differences
from miner.comparison.runs import read_results
from miner.comparison.statistics import Estimate, Pair, describe, estimate


class Runs:
    """Collects runs of a factor `pyramid`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.n_runs = folder, 0

    def add(self, pyramid: str, psnr: float | None, image: str, seed: int, *more: str) -> None:
        overrides = [f"pyramid={pyramid}", f"image={image}", f"seed={seed}", *more]
        write_run(self.folder / f"{self.n_runs}-aa", overrides, psnr_db=psnr)
        self.n_runs += 1

    def differences(self, factor: str = "pyramid") -> list[Difference]:
        return paired_differences(Comparison(read_results([self.folder])), factor, "psnr_db")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_seeds_are_averaged_within_an_image_before_images(runs: Runs) -> None:
    """By hand: moon gains (1 + 3) / 2 = 2 and camera 6, so 4 ± t(0.975, 1) · 2."""
    for image, seed, gain in (("moon", 0, 1), ("moon", 1, 3), ("camera", 0, 6), ("camera", 1, 6)):
        runs.add("gaussian", 30, image, seed)
        runs.add("laplacian", 30 + gain, image, seed)
    (found,) = runs.differences()
    amount = found.estimate
    assert (found.baseline, found.value) == ("gaussian", "laplacian")
    assert amount.mean == pytest.approx(4)
    assert amount.half_width == pytest.approx(12.706204736 * 2)
    assert (amount.n_images, amount.n_seeds, amount.n_pairs) == (2, (2, 2), 4)


def test_a_seed_counts_once_however_many_settings_it_has(runs: Runs) -> None:
    """Moon gains 1 at three widths with seed 0 and 5 at one with seed 1: 3, not 2."""
    for seed, gain, widths in ((0, 1, (8, 16, 32)), (1, 5, (8,))):
        for width in widths:
            runs.add("gaussian", 30, "moon", seed, f"model.width={width}")
            runs.add("laplacian", 30 + gain, "moon", seed, f"model.width={width}")
    assert runs.differences()[0].estimate.mean == pytest.approx(3)


def test_a_recipe_is_compared_with_the_defaults(tmp_path: Path) -> None:
    settings = {"choices": {"pyramid": "gaussian"}, "config": {}}
    write_run(tmp_path / "0", ["image=moon"], settings=settings, psnr_db=30)
    write_run(tmp_path / "1", ["image=moon", "experiment=fast"], settings=settings, psnr_db=32)
    (found,) = paired_differences(Comparison(read_results([tmp_path])), "experiment", "psnr_db")
    assert str(found).startswith("fast − none = +2")


def test_a_crop_is_a_factor_and_no_other_image(tmp_path: Path) -> None:
    for number, (crop, pyramid) in enumerate((c, p) for c in (32, 48) for p in "ab"):
        overrides = ["image=moon", f"image.crop_px={crop}", f"pyramid={pyramid}"]
        write_run(tmp_path / str(number), overrides, width_px=crop, image_sha256="a" * 64)
    comparison = Comparison(read_results([tmp_path]))
    assert list(comparison.factors) == ["image.crop_px", "pyramid"]
    assert paired_differences(comparison, "pyramid", "psnr_db")[0].estimate.n_images == 1


def test_the_interval_is_that_of_a_paired_t_test(runs: Runs) -> None:
    noise = np.random.default_rng(1)
    images = [f"image{n}" for n in range(6)]
    psnr = 30 + noise.normal(size=(2, 6, 3))
    for n_image, image in enumerate(images):
        for seed in range(3):
            runs.add("gaussian", float(psnr[0, n_image, seed]), image, seed)
            runs.add("laplacian", float(psnr[1, n_image, seed]), image, seed)
    amount = runs.differences()[0].estimate
    test = stats.ttest_rel(psnr[1].mean(axis=1), psnr[0].mean(axis=1))
    low, high = test.confidence_interval(0.95)
    assert amount.mean == pytest.approx((low + high) / 2)
    assert amount.half_width == pytest.approx((high - low) / 2)


def test_only_equal_settings_are_paired(runs: Runs) -> None:
    runs.add("gaussian", 30, "moon", 0, "model.width=4")
    runs.add("laplacian", 35, "moon", 0, "model.width=8")
    runs.add("laplacian", 36, "moon", 1, "model.width=4")
    runs.add("laplacian", 37, "camera", 0, "model.width=4")
    assert runs.differences() == []
    runs.add("laplacian", 31, "moon", 0, "model.width=4")
    assert runs.differences()[0].estimate.mean == pytest.approx(1)


def test_what_was_configured_otherwise_than_by_overrides_must_be_equal_too(tmp_path: Path) -> None:
    for name, omega, pyramid in (
        ("a", 7, "gaussian"),
        ("b", 9, "laplacian"),
        ("c", 7, "steerable"),
    ):
        config = {"activation": {"omega": omega}, "pyramid": {"_target_": pyramid}}
        write_run(tmp_path / name, [f"pyramid={pyramid}"], config=config)
    found = paired_differences(Comparison(read_results([tmp_path])), "pyramid", "psnr_db")
    assert [(each.baseline, each.value) for each in found] == [("gaussian", "steerable")]


def test_images_of_one_name_and_other_content_are_not_paired(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ["pyramid=gaussian"], image_sha256="one")
    write_run(tmp_path / "b", ["pyramid=laplacian"], image_sha256="two")
    assert paired_differences(Comparison(read_results([tmp_path])), "pyramid", "psnr_db") == []


def test_a_difference_in_each_setting_follows_that_over_all(runs: Runs) -> None:
    for width, gain in ((4, 1.0), (8, 2.0)):
        runs.add("gaussian", 30, "moon", 0, f"model.width={width}")
        runs.add("laplacian", 30 + gain, "moon", 0, f"model.width={width}")
    found = [(dict(each.setting), each.estimate.mean) for each in runs.differences()]
    assert found == [({}, 1.5), ({"model.width": "4"}, 1.0), ({"model.width": "8"}, 2.0)]


def test_equal_runs_are_averaged(runs: Runs) -> None:
    runs.add("gaussian", 30, "moon", 0)
    runs.add("gaussian", 32, "moon", 0)
    runs.add("laplacian", 35, "moon", 0)
    amount = runs.differences()[0].estimate
    assert (amount.mean, amount.n_seeds, amount.n_pairs) == (4, (1, 1), 1)


def test_unequal_numbers_of_seeds_are_stated(runs: Runs) -> None:
    for image, seed in (("moon", 0), ("moon", 1), ("camera", 0)):
        runs.add("gaussian", 30, image, seed)
        runs.add("laplacian", 32, image, seed)
    assert str(runs.differences()[0]).endswith("(2 images x 1–2 seeds)")


def test_one_image_has_no_interval(runs: Runs) -> None:
    runs.add("gaussian", 30, "moon", 0)
    runs.add("laplacian", 32.6, "moon", 0)
    assert str(runs.differences()[0]) == "laplacian − gaussian = +2.60 dB (1 image x 1 seed)"


def test_a_run_without_the_number_is_left_out(runs: Runs) -> None:
    runs.add("gaussian", None, "moon", 0)
    runs.add("laplacian", 32, "moon", 0)
    assert runs.differences() == []


def test_the_line_shows_the_digits_that_the_interval_warrants() -> None:
    def shown(mean: float, width: float | None) -> str:
        return describe(Estimate(mean, width, 6, (3, 3), 18), "dB").partition(" (")[0]

    assert shown(2.618, 0.412) == "+2.62 dB ± 0.41"
    assert shown(-12345.6, 321.0) == "−12,346 dB ± 321"
    assert shown(0.0, None) == "+0 dB"
    assert shown(0.5, 0.0) == "+0.500 dB ± 0.000"


def test_many_values_are_compared_with_the_first_alone() -> None:
    values = [str(n) for n in range(9)]
    assert len(compared(values[:8], values[:8])) == 28
    assert compared(values, values) == [("0", value) for value in values[1:]]
    assert compared(values, ["1", "2"]) == []


def test_an_estimate_does_not_depend_on_the_order() -> None:
    pairs = [Pair(f"i{n % 3}", str(n), (), amount) for n, amount in enumerate([1.0, 4, 2, 8, 5, 7])]
    assert estimate(pairs).mean == pytest.approx(estimate(pairs[::-1]).mean)
