"""What the GPU benchmark found: rows, targets, what failed, and what there was no time for."""

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rows import Value, append_row

MOST_MESSAGE, SHORT_MESSAGE = 1000, 300  # characters


@dataclass(frozen=True)
class Target:
    """A number that is wanted, and the one that was found; None where it was not measured."""

    what: str
    bound: str
    found: float | None
    is_met: bool

    def __str__(self) -> str:
        if self.found is None:
            return f"{'not measured':14}{self.what}: {self.bound}"
        return (
            f"{'met' if self.is_met else 'MISSED':14}{self.what}: {self.found:.4g} ({self.bound})"
        )


@dataclass
class Journal:
    """Takes rows as soon as they are known, and watches the time.

    `folder` None writes nothing. `origin` says where the rows were measured. `share` is the part of
    the minutes by which what begins now must be over, so that something is left for the rest.
    """

    folder: Path | None
    origin: Mapping[str, Value]
    minutes: float
    share: float = 1.0
    began: float = field(default_factory=time.monotonic)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def row(self, table: str, row: Mapping[str, Value]) -> None:
        """Print a row, and append it to `gpu_<table>.tsv`."""
        if self.folder is not None:
            append_row(self.folder / f"gpu_{table}.tsv", {**row, **self.origin})
        print(f"{table}:", *(f"{name}={short(value)}" for name, value in row.items()), flush=True)

    def fail(self, what: str) -> None:
        """Note something that is wrong, whatever the time that it took."""
        self.failures.append(what)
        print(f"FAILED: {what}", flush=True)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note whatever breaks as a failure, so that what follows has its turn all the same."""
        try:
            yield
        except (Exception, SystemExit) as error:
            print(traceback.format_exc()[-MOST_MESSAGE:])
            self.fail(f"{what}: {type(error).__name__}: {str(error)[:SHORT_MESSAGE]}")

    def target(self, what: str, bound: str, found: float | None, is_met: bool) -> None:
        """Note a target, met or not."""
        self.targets.append(Target(what, bound, found, is_met))

    def left_s(self) -> float:
        """Seconds until everything must be over."""
        return 60 * self.minutes - self._spent_s()

    def has_time_for(self, what: str, seconds: float) -> bool:
        """Whether there is time for something; if not, it is noted as left out."""
        left = 60 * self.minutes * self.share - self._spent_s()
        if left >= seconds:
            return True
        self.left_out.append(
            f"{what}: takes some {seconds:.0f} s, {max(0.0, left):.0f} s were left"
        )
        return False

    def summary(self) -> str:
        """Everything in a few lines, the failures last."""
        lines = [f"{self._spent_s():.0f} s in all", *map(str, self.targets)]
        lines += [f"{'left out':14}{what}" for what in self.left_out]
        lines += [f"{'FAILED':14}{what}" for what in self.failures]
        return "\n".join(lines)

    def _spent_s(self) -> float:
        return time.monotonic() - self.began


def short(value: Value) -> str:
    """A value as it is printed."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
