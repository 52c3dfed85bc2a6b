"""What the GPU benchmark found: rows, targets, failures, and what there was no time for."""

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rows import Value, append_row


@dataclass
class Journal:
    """Writes each row at once, and watches the time.

    `folder` None writes nothing. `origin` says where the rows were measured. `share` is the part of
    the minutes by which what begins now must be over, so that something is left for the rest.
    """

    folder: Path | None
    origin: Mapping[str, Value]
    minutes: float
    share: float = 1.0
    began: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def row(self, table: str, row: Mapping[str, Value]) -> None:
        """Print a row, and append it to `gpu_<table>.tsv`."""
        if self.folder is not None:
            append_row(self.folder / f"gpu_{table}.tsv", {**row, **self.origin})
        print(f"{table}:", *(f"{name}={_short(value)}" for name, value in row.items()), flush=True)

    def fail(self, what: str) -> None:
        """Note something that is wrong."""
        self.failures.append(what)
        print(f"FAILED: {what}", flush=True)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """Note an exception as a failure and continue."""
        try:
            yield
        except (Exception, SystemExit) as error:
            print(traceback.format_exc()[-1000:])
            self.fail(f"{what}: {type(error).__name__}: {str(error)[:300]}")

    def target(self, what: str, bound: str, found: float | None, most: float) -> None:
        """Note whether a number is at most as large as wanted; None was not measured."""
        if found is None:
            self.notes.append(f"{'not measured':14}{what}: {bound}")
        else:
            verdict = "met" if found <= most else "MISSED"
            self.notes.append(f"{verdict:14}{what}: {found:.4g} ({bound})")

    def left_s(self, share: float = 1.0) -> float:
        """Seconds until this share of the time is over."""
        return 60 * self.minutes * share - (time.monotonic() - self.began)

    def leave_out(self, what: str) -> None:
        """Note something that there was no time for."""
        self.notes.append(f"{'left out':14}{what}")

    def has_time_for(self, what: str, seconds: float) -> bool:
        """Whether there is time for something; if not, it is noted as left out."""
        left = max(0.0, self.left_s(self.share))
        if left < seconds:
            self.leave_out(f"{what}: takes some {seconds:.0f} s, {left:.0f} s were left")
        return left >= seconds

    def summary(self) -> str:
        """Everything in a few lines, the failures last."""
        failures = [f"{'FAILED':14}{what}" for what in self.failures]
        spent = f"{time.monotonic() - self.began:.0f} s in all"
        return "\n".join([spent, *self.notes, *failures])


def _short(value: Value) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
