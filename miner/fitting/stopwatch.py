"""Seconds of work on a device, read when all of it is done."""

import time
from typing import Protocol

import torch


class Stopwatch(Protocol):
    """Begins when it is made."""

    def mark(self) -> None:
        """Note the moment at which everything asked for so far is done."""

    def seconds(self) -> list[float]:
        """Seconds from the beginning to each mark."""


class HostStopwatch:
    """For a device that does what it is asked for before it answers."""

    def __init__(self) -> None:
        """Begin."""
        self._began = time.perf_counter()
        self._seconds: list[float] = []

    def mark(self) -> None:
        """Note the present moment."""
        self._seconds.append(time.perf_counter() - self._began)

    def seconds(self) -> list[float]:
        """Seconds from the beginning to each mark."""
        return self._seconds


class CudaStopwatch:
    """Events in a device's present stream: no mark waits for the device."""

    def __init__(self, device: torch.device) -> None:
        """Begin."""
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self.mark()

    def mark(self) -> None:
        """Note the moment at which the stream comes here."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Seconds from the beginning to each mark; waits for the last."""
        first, *marks = self._events
        self._events[-1].synchronize()
        return [first.elapsed_time(mark) / 1e3 for mark in marks]


def stopwatch(device: torch.device) -> Stopwatch:
    """One for a device's work."""
    return CudaStopwatch(device) if device.type == "cuda" else HostStopwatch()
