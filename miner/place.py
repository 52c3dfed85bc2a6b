"""Where a process stands among those of its run, as torchrun, Slurm or Lightning tell it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

_NOT_BATCH = ("bash", "interactive")  # Slurm jobs in which Lightning starts its own processes


@dataclass(frozen=True)
class Place:
    """One of a run's processes: its machine, its number there, and who started it.

    `n_started` is the number of processes that `starter` started; Lightning, which starts the
    others of a machine by itself, has none.
    """

    machine: int = 0
    local: int = 0
    starter: str | None = None
    n_started: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that speaks for all, and keeps the run's folder."""
        return self.machine == self.local == 0

    @property
    def name(self) -> str:
        """Its part of a file's name."""
        return f"machine{self.machine}-process{self.local}"


FIRST = Place()
"""The one process of most runs."""


def present_place(environment: Mapping[str, str] = os.environ) -> Place:
    """This process's place, in the order in which Lightning looks for it."""
    if "TORCHELASTIC_RUN_ID" in environment:
        machine, local = int(environment["GROUP_RANK"]), int(environment["LOCAL_RANK"])
        return Place(machine, local, "torchrun", int(environment["WORLD_SIZE"]))
    if "SLURM_NTASKS" in environment and environment.get("SLURM_JOB_NAME") not in _NOT_BATCH:
        machine = int(environment.get("SLURM_NODEID", 0))
        local = int(environment.get("SLURM_LOCALID", 0))
        return Place(machine, local, "Slurm", int(environment["SLURM_NTASKS"]))
    return Place(int(environment.get("NODE_RANK", 0)), int(environment.get("LOCAL_RANK", 0)))
