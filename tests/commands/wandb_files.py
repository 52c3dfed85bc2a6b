"""Reading what W&B wrote offline, by W&B's own reader of its files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read_wandb(folder: Path) -> list[Record]:
    """Read the records of the one W&B run of a folder."""
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    said = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in said.splitlines()]


def of_type(records: list[Record], kind: str) -> list[Any]:
    """The content of all records of a kind."""
    return [record[kind] for record in records if record["type"] == kind]


def run_of(records: list[Record]) -> Record:
    """What the run is filed under."""
    (run,) = of_type(records, "run")
    return run


def config_of(records: list[Record]) -> Record:
    """The configuration that was logged last."""
    return of_type(records, "config")[-1]["update"]


def history_of(records: list[Record], key: str) -> list[Record]:
    """The rows of the history that hold a key."""
    rows = [record["item"] for record in of_type(records, "history")]
    return [row for row in rows if key in row]


def summary_of(records: list[Record]) -> Record:
    """The summary as it ended."""
    summary: Record = {}
    for update in of_type(records, "summary"):
        summary |= update["update"]
    return summary
