"""Bars of the levels and of a level's block steps, in a terminal."""

from collections.abc import Sequence

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich import get_console
from rich.progress import Progress

from miner.callbacks.base import Callback
from miner.engine.module import LevelResult, MinerModule
from miner.fitting.level_fit import LevelFit


class FitProgress(Callback, ProgressBar):
    """Shows how far a fit is; `trainer.enable_progress_bar=false` leaves it out."""

    def __init__(self) -> None:
        super().__init__()
        self._bars = Progress(disable=True)

    def disable(self) -> None:
        """Nothing: only the first rank has bars."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar of levels."""
        console = get_console()
        is_shown = trainer.is_global_zero and (console.is_terminal or console.is_jupyter)
        self._bars = Progress(transient=True, disable=not is_shown)
        self._levels = self._bars.add_task("levels", total=trainer.max_epochs)
        self._blocks = self._bars.add_task("blocks")
        self._bars.start()

    def on_level_start(
        self, trainer: pl.Trainer, module: MinerModule, fit: LevelFit, chunks: Sequence[int]
    ) -> None:
        """Start a level's bar."""
        total = sum(len(fit.chunks[chunk]) for chunk in chunks) * fit.n_steps
        self._bars.reset(self._blocks, total=total, description=f"level {fit.level}")

    def on_block_steps(self, trainer: pl.Trainer, module: MinerModule, n_block_steps: int) -> None:
        """Advance the level's bar."""
        self._bars.advance(self._blocks, n_block_steps)

    def on_level_end(self, trainer: pl.Trainer, module: MinerModule, result: LevelResult) -> None:
        """Advance the bar of levels."""
        self._bars.advance(self._levels)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the bars."""
        self._bars.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Remove the bars."""
        self._bars.stop()
