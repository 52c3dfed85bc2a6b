"""The end of a sweep: comparison of its jobs, and its summary run in W&B."""

from collections import Counter
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from miner.comparison.comparison import Comparison
from miner.comparison.runs import read_results
from miner.comparison.writing import summary_lines, table, write_comparison
from miner.config.build import build_objective
from miner.config.job import sweep_name
from miner.support.process import say
from miner.support.run_files import PLAN, read_plan


def close_sweep(folder: Path, config: DictConfig) -> bool:
    """Compare all jobs in a sweep's folder; True if every one of its plan has finished."""
    try:
        results = read_results([folder])
    except ValueError:  # there is no run
        return False
    for result in results:
        if result.status == "failed":
            say(f"failed: {result.folder}: {result.reason}")
    for path in write_comparison(results, folder):
        say(f"wrote {path}")
    comparison = Comparison(results)
    planned = results
    if (folder / PLAN).exists():
        say("\n".join(summary_lines(comparison)))
        hashes = {job.hash for job in read_plan(folder)}
        planned = [result for result in results if result.folder.name.rpartition("-")[2] in hashes]
    elif comparison.finished:  # a search
        objective = build_objective(config)
        best = max(comparison.finished, key=lambda result: objective.value(result.report))
        value, overrides = objective.value(best.report), " ".join(best.report["overrides"])
        say(f"best: objective {value:.3f} with {overrides}  in {best.folder}")
    if any(result.status in ("unfinished", "not started") for result in results):
        say(f"to go on, start it again with hydra.sweep.dir={folder}")
    if (settings := OmegaConf.select(config, "logger.wandb")) is not None:
        from miner.loggers.wandb import log_comparison  # slow to import

        counts = {"finished": 0, "failed": 0} | Counter(result.status for result in results)
        given = {n: settings[n] for n in ("project", "entity", "offline", "init_timeout_s")}
        given["group"] = settings.group or sweep_name(folder)
        log_comparison(folder, *table(comparison), counts, **given)
    return all(result.status == "finished" for result in planned)
