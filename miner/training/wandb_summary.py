"""The W&B run that closes a sweep: the comparison of its jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import wandb

from miner.training.wandb_start import RunPlace, start_run

Cell = str | float | None
_MAX_PAGE_BYTES = 20_000_000  # a larger page is slow to upload and to open


@dataclass(frozen=True)
class SweepRun:
    """Where a sweep's jobs are filed, so that the closing run is found among them."""

    folder: Path
    project: str
    group: str
    offline: bool = True


def log_comparison(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    sweep: SweepRun,
    counts: Mapping[str, int],
    page: Path | None = None,
) -> None:
    """Log a sweep's table, its page and how many jobs ended how, in a run of job type `summary`.

    A page that is missing or large is left out; the sweep's folder has it.
    """
    place = RunPlace(
        dir=str(sweep.folder),
        project=sweep.project,
        job_type="summary",
        group=sweep.group,
        name="comparison",
    )
    run = start_run(place, sweep.offline)
    try:
        run.log({"comparison": wandb.Table(columns=list(columns), data=_uniform(rows))})
        if page is not None and page.exists() and page.stat().st_size <= _MAX_PAGE_BYTES:
            run.log({"comparison_page": wandb.Html(str(page), inject=False)})
        run.summary.update(dict(counts))
    finally:
        run.finish()


def _uniform(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Rows whose columns hold numbers or else texts, as W&B's tables demand, with gaps."""
    columns = [_one_type(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _one_type(column: Sequence[Cell]) -> list[Cell]:
    if all(cell is None or isinstance(cell, int | float) for cell in column):
        return [None if cell is None else float(cell) for cell in column]
    return [None if cell is None else str(cell) for cell in column]
