"""The end of a sweep: comparison of its jobs, and its summary run in W&B."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from miner.comparison.comparison import Comparison
from miner.comparison.page import write_comparison
from miner.comparison.runs import NoRunsError, Result, read_results
from miner.comparison.text import summary_lines, table
from miner.config.build import build_objective
from miner.config.fingerprint import HASH_LENGTH
from miner.config.job import sweep_name
from miner.metrics.objective import Objective
from miner.support.process import say
from miner.support.run_files import PLAN, read_plan


def close_sweep(folder: Path, config: DictConfig) -> bool:
    """Compare all jobs in a sweep's folder; True if every one of its plan has finished."""
    try:
        results = read_results([folder])
    except NoRunsError:
        return False
    for result in results:
        if result.status == "failed":
            say(f"failed: {result.folder}: {result.reason}")
    for path in write_comparison(results, folder):
        say(f"wrote {path}")
    comparison = Comparison(results)
    if (folder / PLAN).exists():
        for line in summary_lines(comparison):
            say(line)
    else:
        _say_best(comparison.finished, build_objective(config))
    if any(result.status in ("unfinished", "not started") for result in results):
        say(f"to go on, start it again with hydra.sweep.dir={folder}")
    _log(comparison, folder, config)
    hashes = [job.hash for job in read_plan(folder).jobs] if (folder / PLAN).exists() else None
    planned = [r for r in results if hashes is None or r.folder.name[-HASH_LENGTH:] in hashes]
    return all(result.status == "finished" for result in planned)


def _say_best(results: Sequence[Result], objective: Objective) -> None:
    """Name the winner of a search."""
    if results:
        best = max(results, key=lambda result: objective.value(result.report))
        chosen = " ".join(best.report["overrides"])
        value = objective.value(best.report)
        say(f"best: objective {value:.3f} with {chosen}  in {best.folder}")


def _log(comparison: Comparison, folder: Path, config: DictConfig) -> None:
    """Log the comparison where the jobs were logged."""
    settings = OmegaConf.select(config, "logger.wandb")
    if settings is None:
        return
    group = settings.group or sweep_name(folder)
    from miner.loggers.wandb import SweepRun, log_comparison  # slow to import

    place = SweepRun(folder, settings.project, group, settings.offline)
    columns, rows = table(comparison)
    log_comparison(columns, rows, place, _counts(comparison.results), folder / "comparison.html")


def _counts(results: Sequence[Result]) -> dict[str, int]:
    return {"finished": 0, "failed": 0} | Counter(result.status for result in results)
