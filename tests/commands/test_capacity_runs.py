"""Runs whose blocks have networks of several widths, and a bound for every level."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import TINY, Command, Fit, read_report, run_main, save_picture

import miner
from miner.images import open_image
from miner.metrics.scores import psnr_db

TARGET = ("capacity=target_error", "storage=int8", "fitting.coarse_ratio=1")
EVERY_STEP = ("capacity=uniform", "fitting.max_mse=1e-9", "pruning.every_n_steps=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with capacity=target_error, next to its picture."""
    folder = tmp_path_factory.mktemp("target-error")
    save_picture(folder / "picture.png")
    own = (*TARGET, "logger=csv", "image.path=picture.png", "hydra.run.dir=run")
    assert run_main(folder, *TINY, *own) == 0
    return folder / "run"


def test_report_counts_networks_of_any_width(run: Path) -> None:
    report, stored = read_report(run), miner.load(run)
    for level in report["levels"]:
        (shard,) = stored.shards[level["level"]]
        sizes = {width: stored.spec.model(0, width).n_parameters for width in shard.stored}
        assert len(sizes) > 1
        assert level["n_parameters"] == sum(sizes[width] for width in shard.widths.tolist())
        assert level["n_active"] == len(shard.widths)
    assert report["n_parameters"] == stored.n_parameters


def test_curve_ends_with_the_parameters_that_are_stored(run: Path) -> None:
    with (run / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["fit/psnr_db"]]
    assert float(rows[-1]["fit/parameters"]) == miner.load(run).n_parameters


def test_score_is_that_of_what_is_stored(run: Path) -> None:
    source = torch.from_numpy(open_image(str(run.parent / "picture.png"), 480).pixels)
    rendered = torch.from_numpy(miner.load(run).render())
    assert read_report(run)["psnr_db"] == pytest.approx(psnr_db(source, rendered), abs=1e-4)


def test_function_gives_the_same_bits(run: Path) -> None:
    in_memory = miner.fit(
        open_image(str(run.parent / "picture.png"), 480).pixels,
        patch_size=8,
        pyramid={"n_levels": 2},
        fitting={"max_steps": 3},
        model={"width": 4},
        capacity={"_target_": "miner.fitting.capacity.TargetErrorCapacity"},
        storage="int8",
    )
    assert np.array_equal(miner.load(run).render(), in_memory.render())


def test_coarser_levels_may_miss_more(fit: Fit) -> None:
    counts = [
        [level["n_converged"] for level in read_report(folder)["levels"]]
        for ratio in ("1", "1e9")
        for folder in (fit(*EVERY_STEP, f"fitting.coarse_ratio={ratio}", into=ratio),)
    ]
    assert [coarse for coarse, _ in counts] == [0, 4]


def test_tighter_bound_takes_more_parameters(fit: Fit) -> None:
    sizes = [
        read_report(fit(*TARGET, f"fitting.max_mse={bound}", into=bound))["n_parameters"]
        for bound in ("1e-2", "1e-3", "1e-4")
    ]
    assert sizes == sorted(set(sizes))


def test_capacity_is_swept_like_any_option(tmp_path: Path, command: Command) -> None:
    outcome = command("-m", "capacity=uniform,target_error", "hydra.sweep.dir=sweep")
    assert outcome.status == 0
    folders = sorted((tmp_path / "sweep").glob("[01]-*"))
    scores = [read_report(folder)["psnr_db"] for folder in folders]
    assert len(scores) == 2
    assert all(map(math.isfinite, scores))
    assert scores[0] != scores[1]
