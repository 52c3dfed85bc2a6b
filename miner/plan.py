"""`sweep.json`: the jobs that a sweep set out to do."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from miner.files import written_whole

PLAN = "sweep.json"


@dataclass(frozen=True)
class PlannedJob:
    """One job of a sweep; `hash` tells what it is, `number` only its place in this grid."""

    number: int
    hash: str
    overrides: Sequence[str]

    @property
    def folder_name(self) -> str:
        """Where it goes, unless a folder of an earlier start has the same hash."""
        return f"{self.number}-{self.hash}"


@dataclass(frozen=True)
class Plan:
    """A sweep's jobs."""

    jobs: Sequence[PlannedJob]

    @property
    def differing(self) -> list[str]:
        """Keys of the overrides that are not the same in all jobs."""
        values: dict[str, set[str]] = {}
        for job in self.jobs:
            for key, _, value in (override.partition("=") for override in job.overrides):
                values.setdefault(key, set()).add(value)
        return [key for key, found in values.items() if len(found) > 1]


@dataclass(frozen=True)
class SweepPlace:
    """The sweep that a job belongs to, and the job's overrides that differ between its jobs."""

    name: str
    differing: Sequence[str]


def write_plan(folder: Path, plan: Plan) -> None:
    """Write `sweep.json`, whole or not at all."""
    with written_whole(folder / PLAN) as scratch:
        scratch.write_text(json.dumps(asdict(plan), indent=1) + "\n")


def read_plan(folder: Path) -> Plan:
    """Read `sweep.json` as `write_plan` wrote it."""
    stored = json.loads((folder / PLAN).read_text())
    return Plan([PlannedJob(**job) for job in stored["jobs"]])
