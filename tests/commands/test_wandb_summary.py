"""The W&B run that closes a sweep, read back from disk."""

import json
from pathlib import Path

import pytest
import wandb
from wandb_files import Record, history_of, of_type, read_wandb, run_of, summary_of

from miner.loggers.wandb import log_comparison
from miner.support.run_files import claim

COLUMNS = ["run", "model.width", "psnr_db", "n_parameters"]
ROWS = [["0-a", "8", 31.5, 1], ["1-b", "[4,8]", None, 2], ["2-c", None, 30, None]]
PAGE = "<html><head><title>t</title></head><body><script>let a = 1</script></body></html>"


def close_sweep(folder: Path) -> list[Record]:
    """Log the comparison of a sweep in a folder; gives the run's records."""
    page = folder / "comparison.html"
    page.write_text(PAGE)
    counts = {"finished": 2, "failed": 1}
    log_comparison(folder, COLUMNS, ROWS, counts, project="quality", group="evening")
    return read_wandb(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("closed")


@pytest.fixture(scope="module")
def records(folder: Path) -> list[Record]:
    return close_sweep(folder)


def test_closing_run_is_filed_with_the_jobs_counts_them_and_ends(records: list[Record]) -> None:
    run = run_of(records)
    assert (run["project"], run["run_group"]) == ("quality", "evening")
    assert (run["job_type"], run["display_name"]) == ("summary", "comparison")
    assert summary_of(records).items() >= {"finished": 2, "failed": 1}.items()
    assert of_type(records, "exit")[-1].get("exit_code", 0) == 0
    assert wandb.run is None


def test_page_and_table_with_numbers_or_texts_by_column(
    folder: Path, records: list[Record]
) -> None:
    (files,) = folder.glob("wandb/offline-run-*/files")
    (row,) = history_of(records, "comparison.path")
    table = json.loads((files / row["comparison.path"]).read_text())
    assert table["columns"] == COLUMNS
    assert table["data"] == ROWS
    assert of_type(records, "artifact")[0]["type"] == "run_table"
    (row,) = history_of(records, "comparison_page.path")
    assert (files / row["comparison_page.path"]).read_text() == PAGE
    assert (folder / "comparison.html").read_text() == PAGE


def test_the_table_of_an_earlier_start_is_replaced_unless_uploaded(tmp_path: Path) -> None:
    waiting = tmp_path / "wandb" / "offline-run-1-a"
    uploaded = tmp_path / "wandb" / "offline-run-2-b"
    job = tmp_path / "0-a" / "wandb" / "offline-run-3-c"
    foreign = tmp_path / "wandb" / "offline-run-4-d"
    for run in (waiting, uploaded, job, foreign):
        run.mkdir(parents=True)
        (run / "output.log").touch()
        if run != foreign:
            (run / "made-by-miner").touch()
    (uploaded / "run-b.wandb.synced").touch()
    claim(tmp_path, "sweep.json")
    records = close_sweep(tmp_path)
    assert run_of(records)["display_name"] == "comparison"
    kept = [run.exists() for run in (waiting, uploaded, job, foreign)]
    assert kept == [False, True, True, True]
