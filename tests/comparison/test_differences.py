"""Paired differences against numbers worked out by hand."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_run

from miner.comparison.comparison import Comparison, Difference, compared
from miner.comparison.runs import read_results

Run = tuple[str, float | None, str, int, *tuple[str, ...]]
"""Pyramid, PSNR, image, seed, and more overrides."""


def compare(folder: Path) -> Comparison:
    return Comparison(read_results([folder]))


def pyramids(folder: Path, runs: Sequence[Run]) -> list[Difference]:
    """Differences of PSNR between the pyramids of some runs."""
    for n, (pyramid, psnr, image, seed, *more) in enumerate(runs):
        overrides = [f"pyramid={pyramid}", f"image={image}", f"seed={seed}", *more]
        write_run(folder / f"{n}-aa", overrides, psnr_db=psnr)
    return compare(folder).differences("pyramid", "psnr_db")


def test_a_difference_is_the_value_minus_the_baseline(tmp_path: Path) -> None:
    (found,) = pyramids(tmp_path, [("gaussian", 30, "moon", 0), ("laplacian", 32.6, "moon", 0)])
    assert (found.baseline, found.value) == ("gaussian", "laplacian")
    assert str(found) == "laplacian − gaussian = +2.60 dB (1 image x 1 seed)"


def test_a_recipe_is_compared_with_the_defaults(tmp_path: Path) -> None:
    settings = {"choices": {"pyramid": "gaussian"}, "config": {}}
    write_run(tmp_path / "0", ["image=moon"], settings=settings, psnr_db=30)
    write_run(tmp_path / "1", ["image=moon", "experiment=fast"], settings=settings, psnr_db=32)
    (found,) = compare(tmp_path).differences("experiment", "psnr_db")
    assert str(found).startswith("fast − none = +2")


def test_methods_are_compared_whatever_else_they_set(tmp_path: Path) -> None:
    for method, psnr in (("miner", 30), ("siren", 32)):
        settings = {"choices": {"method": method}, "config": {"capacity": {"of": method}}}
        write_run(tmp_path / method, [f"method={method}"], settings=settings, psnr_db=psnr)
    (found,) = compare(tmp_path).differences("method", "psnr_db")
    assert str(found).startswith("siren − miner = +2")


def test_a_crop_is_a_factor_and_no_other_image(tmp_path: Path) -> None:
    for crop, pyramid in product((32, 48), "ab"):
        overrides = ["image=moon", f"image.crop_px={crop}", f"pyramid={pyramid}"]
        write_run(tmp_path / f"{crop}{pyramid}", overrides, width_px=crop, image_sha256="a" * 64)
    comparison = compare(tmp_path)
    assert list(comparison.factors) == ["image.crop_px", "pyramid"]
    assert comparison.differences("pyramid", "psnr_db")[0].estimate.n_images == 1


def test_only_equal_settings_are_paired(tmp_path: Path) -> None:
    runs: list[Run] = [
        ("gaussian", 30, "moon", 0, "model.width=4"),
        ("laplacian", 35, "moon", 0, "model.width=8"),
        ("laplacian", 36, "moon", 1, "model.width=4"),
        ("laplacian", 37, "camera", 0, "model.width=4"),
    ]
    assert pyramids(tmp_path, runs) == []
    found = pyramids(tmp_path, [*runs, ("laplacian", 31, "moon", 0, "model.width=4")])
    assert found[0].estimate.mean == pytest.approx(1)


@pytest.mark.parametrize(
    "fields",
    [
        [{"config": {"activation": {"omega": omega}}} for omega in (7, 9, 7)],
        [{"image_sha256": digest} for digest in ("one", "two", "one")],
        [{"mask_sha256": digest} for digest in ("one", "two", "one")],
        [{"mask_sha256": digest} for digest in ("", "one", "")],
    ],
    ids=["configured without an override", "another image of the name", "another mask", "no mask"],
)
def test_what_differs_without_an_override_is_not_paired(
    tmp_path: Path, fields: list[dict[str, Any]]
) -> None:
    for pyramid, field in zip(("gaussian", "laplacian", "steerable"), fields, strict=True):
        write_run(tmp_path / pyramid, [f"pyramid={pyramid}"], **field)
    found = compare(tmp_path).differences("pyramid", "psnr_db")
    assert [(each.baseline, each.value) for each in found] == [("gaussian", "steerable")]


def test_a_difference_is_over_all_settings_of_the_other_factors(tmp_path: Path) -> None:
    runs: list[Run] = []
    for width, gain in ((4, 1.0), (8, 2.0)):
        runs.append(("gaussian", 30, "moon", 0, f"model.width={width}"))
        runs.append(("laplacian", 30 + gain, "moon", 0, f"model.width={width}"))
    (found,) = pyramids(tmp_path, runs)
    assert found.estimate.mean == 1.5


def test_equal_runs_are_averaged(tmp_path: Path) -> None:
    equal: list[Run] = [("gaussian", 30, "moon", 0), ("gaussian", 32, "moon", 0)]
    (found,) = pyramids(tmp_path, [*equal, ("laplacian", 35, "moon", 0)])
    amount = found.estimate
    assert (amount.mean, amount.n_seeds) == (4, (1, 1))


def test_a_run_without_the_number_is_left_out(tmp_path: Path) -> None:
    runs: list[Run] = [("gaussian", None, "moon", 0), ("laplacian", 32, "moon", 0)]
    assert pyramids(tmp_path, runs) == []


def test_many_values_are_compared_with_the_first_alone() -> None:
    values = [str(n) for n in range(9)]
    assert len(compared(values[:8], values[:8])) == 28
    assert compared(values, values) == [("0", value) for value in values[1:]]
    assert compared(values, ["1", "2"]) == []
