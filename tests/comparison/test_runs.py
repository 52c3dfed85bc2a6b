"""Folders as runs leave them: finished, failed, killed, not started, of another version."""

import json
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_content, write_killed, write_run

from miner.comparison.comparison import Comparison
from miner.comparison.runs import CURVE, Result, read_results
from miner.support.run_files import PlannedJob, write_plan


def read_one(folder: Path) -> Result:
    (result,) = read_results([folder])
    return result


def test_each_status_is_recognised(tmp_path: Path) -> None:
    jobs = [PlannedJob(n, f"{n:08x}", [f"seed={n}", "image=camera"]) for n in range(4)]
    write_plan(tmp_path, jobs)
    write_run(tmp_path / f"0-{jobs[0].hash}", jobs[0].overrides)
    reason = "ValueError: too dark"
    write_run(tmp_path / f"1-{jobs[1].hash}", jobs[1].overrides, status="failed", reason=reason)
    write_killed(tmp_path / f"2-{jobs[2].hash}", jobs[2].overrides)
    results = read_results([tmp_path])
    assert [r.status for r in results] == ["finished", "failed", "unfinished", "not started"]
    assert [r.seed for r in results] == ["0", "1", "2", "3"]
    assert {r.image for r in results} == {"camera"}
    assert results[1].reason == reason


def test_runs_come_once_each_in_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        write_run(tmp_path / f"{number}-aa")
    results = read_results([tmp_path, tmp_path / "9-aa"])
    assert [result.folder.name for result in results] == ["1-aa", "9-aa", "10-aa"]


def test_composed_settings_stand_for_what_was_not_typed(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ["model.width=8"], config={"model": {"width": 8}})
    write_run(tmp_path / "b", [], config={"model": {"width": 16}})
    write_run(tmp_path / "c", [], config={})
    comparison = Comparison(read_results([tmp_path]))
    values = [comparison.value(result, "model.width") for result in comparison.results]
    assert values == ["8", "16", "?"]
    assert comparison.factors == {"model.width": ["8", "16"]}


def test_spellings_image_seed_and_logger_are_no_factors(tmp_path: Path) -> None:
    same = [["lr=1e-3", "deep=True", "sides=[1, 2]"], ["lr=0.001", "deep=true", "sides=[1,2]"]]
    write_run(tmp_path / "a", [*same[0], "image=moon", "seed=1", "logger=none", "pyramid=haar"])
    write_run(tmp_path / "b", [*same[1], "image=page", "seed=2", "logger=wandb", "pyramid=box"])
    assert Comparison(read_results([tmp_path])).factors == {"pyramid": ["haar", "box"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        *((content, "report.json") for content in ("", "{", "[1]", "null", "\x00\xff")),
        ('{"psnr_db": 30.0}', "report_version=1: must be 2"),
        ('{"report_version": 3, "psnr_db": 30.0}', "report_version=3: must be 2"),
    ],
)
def test_a_report_that_cannot_be_read_is_a_failure_with_a_reason(
    tmp_path: Path, content: str, reason: str
) -> None:
    result = read_one(write_content(tmp_path / "a", content))
    assert (result.status, result.numbers) == ("failed", {})
    assert reason in result.reason


def test_fields_of_unexpected_types_are_ignored(tmp_path: Path) -> None:
    odd = {
        "report_version": 2,
        "overrides": "pyramid=gaussian",
        "settings": [1],
        "curve": {"step": [1, 2], "seconds": [1]},
        "psnr_db": "30",
        "ssim": True,
        "image": ["a"],
    }
    result = read_one(write_content(tmp_path / "a", json.dumps(odd)))
    assert (result.overrides, result.numbers, result.curve) == ({}, {}, [])


@pytest.mark.parametrize(
    ("odd", "psnr_db"),
    [*(({"step": odd}, []) for odd in (5, "text", None, {})), ({"psnr_db": [3, "x"]}, [3, None])],
)
def test_a_curve_of_odd_columns_does_no_harm(
    tmp_path: Path, odd: dict[str, Any], psnr_db: list[float | None]
) -> None:
    report = {"report_version": 2, "curve": {name: [1, 2] for name in CURVE} | odd}
    result = read_one(write_content(tmp_path, json.dumps(report)))
    assert [point[-1] for point in result.curve] == psnr_db


def test_settings_that_change_no_result_are_no_settings(tmp_path: Path) -> None:
    config = {"callbacks": {"a": 1}, "fitting": {"in_memory_mib": 1, "scratch_dir": "a", "x": 2}}
    assert read_one(write_run(tmp_path / "a", config=config)).settings.keys() == {"fitting.x"}


def test_numbers_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    content = '{"report_version": 2, "psnr_db": Infinity, "ssim": NaN, "n_parameters": 3}'
    assert read_one(write_content(tmp_path / "a", content)).numbers == {"n_parameters": 3}


def test_a_broken_plan_hides_no_runs(tmp_path: Path) -> None:
    write_run(tmp_path / "0-aa")
    (tmp_path / "sweep.json").write_text('{"jobs": [{"nothing": 1}]}')
    assert len(read_results([tmp_path])) == 1


def test_folders_without_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no run"):
        read_results([tmp_path])
    with pytest.raises(ValueError, match="is no folder"):
        read_results([tmp_path / "absent"])


def test_images_are_distinguished_by_content(tmp_path: Path) -> None:
    """Crops of an image are that image."""

    def images() -> set[str]:
        return {result.image for result in read_results([tmp_path])}

    write_run(tmp_path / "1", image_sha256="a" * 64)
    write_run(tmp_path / "2", image_sha256="a" * 64, width_px=99)
    write_run(tmp_path / "3", status="failed", width_px=None, image_sha256=None)
    assert images() == {"camera"}
    write_run(tmp_path / "4", image_sha256="b" * 64)
    assert images() == {"camera", "camera (aaaaaaaa)", "camera (bbbbbbbb)"}


def test_images_are_distinguished_by_their_masks(tmp_path: Path) -> None:
    for number, mask in enumerate(("", "a" * 64, "b" * 64)):
        write_run(tmp_path / str(number), mask_sha256=mask, width_px=9, height_px=7)
    write_run(tmp_path / "crop", mask_sha256="c" * 64, width_px=8, height_px=7)
    found = {result.image for result in read_results([tmp_path])}
    assert found == {"camera", "camera (9x7 mask aaaaaaaa)", "camera (9x7 mask bbbbbbbb)"}
