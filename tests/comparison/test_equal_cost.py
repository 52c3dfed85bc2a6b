"""Differences at equal cost, against lines drawn by hand; the Pareto front by brute force."""

import math
from pathlib import Path

import pytest
from fake_runs import write_run, write_sweep
from hypothesis import given
from hypothesis import strategies as st

from miner.comparison.comparison import Comparison
from miner.comparison.differences import (
    Curve,
    differences_at_equal_cost,
    mean_distance,
    sweeps_beyond,
)
from miner.comparison.runs import read_results
from miner.comparison.statistics import pareto_front

SMALL = st.integers(0, 5).map(float)


def test_parallel_lines_lie_apart_by_their_shift() -> None:
    """Both rise by 3 dB per doubling; the other is 2 dB better, and shifted in cost."""
    one = Curve([100, 200, 400], [30, 33, 36])
    two = Curve([200, 400, 800], [35, 38, 41])
    assert mean_distance(one, two) == pytest.approx(2)
    assert mean_distance(two, one) == pytest.approx(-2)


def test_crossing_lines_lie_apart_by_the_mean_over_the_logarithm() -> None:
    """From 0 at the left to 4 dB at the right: 2 dB in the mean."""
    assert mean_distance(Curve([1, 10, 100], [0, 0, 0]), Curve([1, 10, 100], [0, 2, 4])) == (
        pytest.approx(2)
    )


def test_curves_that_share_no_cost_have_no_distance() -> None:
    assert mean_distance(Curve([1, 2, 4], [0, 1, 2]), Curve([4, 8, 16], [0, 1, 2])) is None


def test_curves_that_hardly_overlap_have_no_distance() -> None:
    """The best of one would be compared with the worst of the other."""
    low, high = Curve([100, 300, 1000], [30, 35, 40]), Curve([999, 3000, 9999], [20, 25, 30])
    assert mean_distance(low, high) is None


def write_lines(folder: Path) -> None:
    """PSNR is 30 + 3 log2(width), and 2 dB more for laplacian at twice the parameters."""
    for pyramid, times, gain in (("gaussian", 1, 0.0), ("laplacian", 2, 2.0)):
        for width in (4, 8, 16):
            for image in ("moon", "camera"):
                write_run(
                    folder / f"{pyramid}-{width}-{image}",
                    [f"pyramid={pyramid}", f"model.width={width}", f"image={image}"],
                    psnr_db=30 + 3 * math.log2(width) + gain,
                    n_parameters=100 * width * times,
                )


def test_a_factor_is_judged_at_equal_parameters(tmp_path: Path) -> None:
    """Twice the parameters are worth 3 dB, of which laplacian has 2: it is 1 dB worse."""
    write_lines(tmp_path)
    comparison = Comparison(read_results([tmp_path]))
    assert sweeps_beyond(comparison, "pyramid") == ["model.width"]
    assert sweeps_beyond(comparison, "model.width") == []
    (found,) = differences_at_equal_cost(comparison, "pyramid", "model.width", "n_parameters")
    assert found.estimate.mean == pytest.approx(-1)
    assert (found.estimate.n_images, found.estimate.n_pairs) == (2, 2)


def test_equal_runs_make_one_point_of_a_curve(tmp_path: Path) -> None:
    for copy in ("one", "two"):
        write_lines(tmp_path / copy)
    comparison = Comparison(read_results([tmp_path]))
    (found,) = differences_at_equal_cost(comparison, "pyramid", "model.width", "n_parameters")
    assert found.estimate.mean == pytest.approx(-1)


def test_two_points_make_no_curve(tmp_path: Path) -> None:
    write_sweep(tmp_path, images=["moon"], seeds=[0], widths=[4, 8])
    comparison = Comparison(read_results([tmp_path]))
    assert sweeps_beyond(comparison, "pyramid") == []
    args = ("pyramid", "model.width", "n_parameters")
    assert differences_at_equal_cost(comparison, *args) == []


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
