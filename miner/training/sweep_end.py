"""What follows a sweep: its comparison, in files and in the terminal."""

from pathlib import Path

from omegaconf import DictConfig
from rich import get_console

from miner.comparison.results import NoRuns, read_results


def close_sweep(folder: Path, config: DictConfig) -> bool:
    """Compare the jobs of a sweep; True if every one of them has finished."""
    try:
        results = read_results([folder])
    except NoRuns:
        return False
    return all(result.status == "finished" for result in results)
