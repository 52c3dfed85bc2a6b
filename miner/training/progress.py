"""Progress over levels and chunks in the terminal, and a line for each finished level."""

import logging
from typing import Self

from rich import get_console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from miner.training.records import LevelRecord

_LOG = logging.getLogger("miner")


class FitProgress:
    """Two bars: levels, and block steps of the present level with its chunks."""

    def __init__(self, n_levels: int, is_shown: bool = True) -> None:
        """Prepare the bars; they are shown inside a `with` statement, in a terminal."""
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            transient=True,
            disable=not (is_shown and get_console().is_terminal),
        )
        self._levels = self._bars.add_task("levels", total=n_levels, note="")
        self._blocks: TaskID | None = None

    def __enter__(self) -> Self:
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Take the bars away."""
        self._bars.stop()

    def start_level(self, level: int, n_block_steps: int) -> None:
        """Begin a level's bar."""
        self._blocks = self._bars.add_task(f"level {level}", total=n_block_steps, note="")

    def start_chunk(self, done: int, total: int) -> None:
        """Say how many chunks are done."""
        if self._blocks is not None:
            self._bars.update(self._blocks, note=f"chunk {done + 1} of {total}")

    def advance(self, n_block_steps: int) -> None:
        """Count block steps that were done or spared."""
        if self._blocks is not None:
            self._bars.advance(self._blocks, n_block_steps)

    def finish_level(self, record: LevelRecord) -> None:
        """Print the level's line."""
        if self._blocks is not None:
            self._bars.remove_task(self._blocks)
        self._bars.advance(self._levels)
        _LOG.info(
            "level %d  %dx%d  %d of %d blocks active, %d converged, %d started fresh  "
            "%.2f dB  %.1f s",
            record.level,
            record.width_px,
            record.height_px,
            record.n_active,
            record.n_blocks,
            record.n_converged,
            record.n_fresh,
            record.psnr_db,
            record.wall_time_s,
        )
        if record.n_diverged:
            _LOG.warning(
                "level %d: %d blocks diverged and were fitted again at a tenth of optimizer.lr, "
                "which is too high for them",
                record.level,
                record.n_diverged,
            )
