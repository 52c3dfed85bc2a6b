"""The one number that a search over settings maximises."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from miner.support.ranges import Positive

_COSTS = ("n_parameters", "parameters_per_pixel", "file_bytes", "bits_per_pixel", "fit_time_s")


@dataclass(frozen=True)
class Objective(ABC):
    """Turns a report into a number, higher being better."""

    @abstractmethod
    def value(self, report: Mapping[str, Any]) -> float:
        """The number of a finished run; infinite for a perfect reconstruction."""


@dataclass(frozen=True)
class Quality(Objective):
    """PSNR in dB, whatever it costs."""

    def value(self, report: Mapping[str, Any]) -> float:
        """`psnr_db`; a report holds null where it is infinite."""
        psnr_db = report["psnr_db"]
        return math.inf if psnr_db is None else float(psnr_db)


@dataclass(frozen=True)
class QualityAtBudget(Objective):
    """PSNR in dB, less `db_per_doubling` for every doubling of a cost beyond its budget.

    Raises `ValueError` for a cost that reports do not hold.
    """

    cost: str
    budget: Positive
    db_per_doubling: Positive = 12.0

    def __post_init__(self) -> None:
        if self.cost not in _COSTS:
            raise ValueError(f"objective.cost={self.cost}: must be one of {', '.join(_COSTS)}")

    def value(self, report: Mapping[str, Any]) -> float:
        """PSNR less the penalty."""
        spent = max(float(report[self.cost]) / self.budget, 1.0)
        return Quality().value(report) - self.db_per_doubling * math.log2(spent)
