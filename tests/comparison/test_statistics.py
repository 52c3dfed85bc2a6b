"""Estimates against SciPy, their wording, and the Pareto front by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from miner.comparison.comparison import Estimate, describe, estimate, pareto_front

SMALL = st.integers(0, 5).map(float)


def test_seeds_are_averaged_within_an_image_before_images() -> None:
    """By hand: moon gains (1 + 3) / 2 = 2 and camera 6, so 4 ± t(0.975, 1) · 2."""
    gains = [("moon", "0", 1.0), ("moon", "1", 3.0), ("camera", "0", 6.0), ("camera", "1", 6.0)]
    found = estimate(gains)
    assert found.mean == pytest.approx(4)
    assert found.half_width == pytest.approx(12.706204736 * 2)
    assert (found.n_images, found.n_seeds) == (2, (2, 2))


def test_a_seed_counts_once_however_many_settings_it_has() -> None:
    """Moon gains 1 at three widths with seed 0 and 5 at one with seed 1: 3, not 2."""
    samples = [*[("moon", "0", 1.0)] * 3, ("moon", "1", 5.0)]
    assert estimate(samples).mean == pytest.approx(3)


def test_the_interval_is_that_of_a_paired_t_test() -> None:
    psnr = 30 + np.random.default_rng(1).normal(size=(2, 6, 3))
    gains = np.ndenumerate(psnr[1] - psnr[0])
    found = estimate([(str(image), str(seed), float(x)) for (image, seed), x in gains])
    test = stats.ttest_rel(psnr[1].mean(axis=1), psnr[0].mean(axis=1))
    low, high = test.confidence_interval(0.95)
    assert found.mean == pytest.approx((low + high) / 2)
    assert found.half_width == pytest.approx((high - low) / 2)


@pytest.mark.parametrize(
    ("mean", "width", "shown"),
    [
        (2.618, 0.412, "+2.62 dB ± 0.41"),
        (-12345.6, 321.0, "−12,346 dB ± 321"),
        (0.0, None, "+0 dB"),
        (0.5, 0.0, "+0.500 dB ± 0.000"),
    ],
)
def test_digits_are_those_that_the_interval_warrants(
    mean: float, width: float | None, shown: str
) -> None:
    found = describe(Estimate(mean, width, 6, (3, 3)), "dB")
    assert found == f"{shown} (6 images x 3 seeds)"


def test_counts_of_images_and_seeds_are_stated() -> None:
    one = estimate([("moon", "0", 2.6)])
    assert describe(one) == "+2.60 (1 image x 1 seed)"
    unequal = estimate([("moon", "0", 2.0), ("moon", "1", 2.0), ("camera", "0", 2.0)])
    assert describe(unequal).endswith("(2 images x 1–2 seeds)")


@given(st.lists(st.tuples(SMALL, SMALL), max_size=12))
def test_the_front_is_that_of_brute_force(points: list[tuple[float, float]]) -> None:
    costs, qualities = [p[0] for p in points], [p[1] for p in points]
    unbeaten = {
        (cost, quality)
        for cost, quality in points
        if not any((c <= cost and q > quality) or (c < cost and q >= quality) for c, q in points)
    }
    front = [points[i] for i in pareto_front(costs, qualities)]
    assert set(front) == unbeaten
    assert front == sorted(unbeaten)
