"""Metrics that somebody adds to a run: report, W&B, comparison, resuming, failures, refusals."""

from pathlib import Path

import pytest
import torch
from in_process import run
from runs import Command, Fit, read_report
from torch import Tensor
from wandb_files import read_wandb, summary_of

from miner.comparison.comparison import Comparison
from miner.comparison.runs import read_results
from miner.comparison.writing import write_comparison
from miner.metrics.base import TileMetric
from miner.signals.regions import Region, sides_of

MEAN, BRIGHT = (
    f"+metrics.mean._target_={__name__}.Mean",
    f"+metrics.light._target_={__name__}.Light",
)


class Mean(TileMetric):
    """Mean of what is stored, and which tiles it has seen."""

    halo = 3

    def __init__(self, factor: float = 1.0, fails_at: str = "", scale: float = 1.0) -> None:
        super().__init__()
        self.factor, self.fails_at, self.scale = factor, fails_at, scale
        self.add_state("total", torch.zeros(2, dtype=torch.float64), "sum")

    def update(self, preds: Tensor, target: Tensor, tile: Region, sides: tuple[int, ...]) -> None:
        if self.fails_at == "update":
            raise RuntimeError("out of ideas")
        expected = [
            min(end + 3, side) - first for (first, end), side in zip(tile, sides, strict=True)
        ]
        assert list(preds.shape[1:]) == list(target.shape[1:]) == expected
        inside = preds[(slice(None), *map(slice, sides_of(tile)))].double()
        self.total += torch.tensor([float(inside.sum()), inside.numel()])

    def compute(self) -> Tensor | None:
        if self.fails_at == "compute":
            raise ValueError("no score")
        return None if self.fails_at == "undefined" else self.factor * self.total[0] / self.total[1]


class Light(Mean):
    """The same, of which less is better."""

    higher_is_better = False


class NoMetric:
    """Of the wrong kind."""


def test_report_and_wandb_have_its_number(fit: Fit) -> None:
    folder = fit(MEAN, "+metrics.mean.factor=2", "logger=wandb")
    report = read_report(folder)
    assert 0 < report["mean"] < 2
    assert report["higher_is_better"] == {"mean": True}
    assert summary_of(read_wandb(folder))["mean"] == report["mean"]
    assert not [note for note in report.get("notes", ()) if note.startswith("mean")]


def test_scores_and_hash_are_those_of_a_run_without_it(fit: Fit) -> None:
    reports = [read_report(fit(into="bare")), read_report(fit(MEAN, into="more"))]
    for name in ("psnr_db", "ssim", "seam_ratio", "hash"):
        assert reports[0][name] == reports[1][name]
    assert "higher_is_better" not in reports[0]


@pytest.mark.parametrize("fails_at", ["update", "compute"])
def test_one_that_fails_costs_its_score_alone(
    fit: Fit, caplog: pytest.LogCaptureFixture, fails_at: str
) -> None:
    failing = f"+metrics.mean.fails_at={fails_at}"
    report = read_report(fit(MEAN, failing, BRIGHT))
    assert (report["status"], report["mean"]) == ("finished", None)
    assert report["psnr_db"] > 0 and report["light"] > 0
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith("metrics.mean: failed")
    assert error.exc_info is not None
    assert [note for note in report["notes"] if note.startswith("mean is undefined")]


def test_an_undefined_one_is_null_with_a_note(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    report = read_report(fit(MEAN, "+metrics.mean.fails_at=undefined"))
    assert report["mean"] is None
    assert [note for note in report["notes"] if note.startswith("mean is undefined")]
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_stopped_run_has_it_of_what_is_stored(tmp_path: Path) -> None:
    report = run(tmp_path / "run", MEAN, "trainer.max_time={seconds:0.000001}")
    assert report["status"] == "stopped"
    assert 0 < report["mean"] < 1


def test_it_is_added_to_a_finished_run_by_resuming(tmp_path: Path) -> None:
    before = run(tmp_path / "run")
    after = run(tmp_path / "run", MEAN)
    assert after["n_resumed_shards"] > 0 and after["psnr_db"] == before["psnr_db"]
    assert 0 < after["mean"] < 1


def test_table_and_page_of_a_comparison_have_it_with_its_front(tmp_path: Path) -> None:
    for depth in (1, 2):
        run(tmp_path / f"of{depth}", MEAN, BRIGHT, f"model.depth={depth}")
    results = read_results([tmp_path])
    comparison = Comparison(results)
    assert comparison.added == {"mean": True, "light": False}
    assert list(comparison.factors) == ["model.depth"]  # not the metrics
    write_comparison(results, tmp_path)
    columns = (tmp_path / "comparison.tsv").read_text().splitlines()[0].split("\t")
    assert {"mean", "light"} < set(columns)
    page = (tmp_path / "comparison.html").read_text()
    assert all(f'id="{name}"' in page for name in ("quality", "quality0", "quality1"))
    assert page.count("<th>mean</th><th>light</th>") == 2  # of runs and settings


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            f"+metrics.x._target_={__name__}.NoMetric",
            "be a subclass of miner.metrics.base.TileMetric",
        ),
        ("+metrics.x._target_=nowhere.Metric", "is the name right, its package in PYTHONPATH"),
        (f"+metrics.x._target_={__name__}.Mean +metrics.x.wrong=1", "every setting one that it"),
        (f"+metrics.ssim._target_={__name__}.Mean", "a number of this name; choose another"),
        ("+metrics.x.halo=1", "metrics.x"),
        ("metrics=nothing", "must be one of none"),
    ],
)
def test_a_wrong_one_is_refused_in_a_line(command: Command, settings: str, reason: str) -> None:
    outcome = command(*settings.split(), "hydra.run.dir=run")
    assert outcome.status == 1
    (line,) = outcome.lines
    assert line.startswith("error: metrics") and reason in line
    assert not Path("run").exists()


def test_a_field_may_have_any_name_and_null_leaves_it_out(fit: Fit) -> None:
    report = read_report(fit(MEAN, "+metrics.mean.scale=3", "+metrics.x=null"))
    assert report["mean"] > 0 and "x" not in report
