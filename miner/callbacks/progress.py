"""Bars of the levels and of what is done of one, in a terminal."""

import math
from collections.abc import Sequence

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich import get_console
from rich.progress import Progress

from miner.callbacks.base import Callback
from miner.engine.module import LevelResult, MinerModule
from miner.engine.scoring import ScoredModule
from miner.fitting.level_fit import LevelFit
from miner.metrics.scores import psnr_of_sse


class FitProgress(Callback, ProgressBar):
    """Shows how far a fit is, and its PSNR; `trainer.enable_progress_bar=false` leaves it out.

    While a level is fitted, that is the mean of the blocks so far; then it is the level's.
    """

    def __init__(self) -> None:
        super().__init__()
        self._bars = Progress(disable=True)

    def disable(self) -> None:
        """Nothing: only the first rank has bars."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bars: the image is open, and its pyramid comes next."""
        console = get_console()
        is_shown = trainer.is_global_zero and (console.is_terminal or console.is_jupyter)
        self._bars = Progress(transient=True, disable=not is_shown)
        self._levels = self._bars.add_task("levels", total=trainer.max_epochs)
        self._work = self._bars.add_task("building the pyramid", total=None)
        self._bars.start()

    def on_level_start(
        self, trainer: pl.Trainer, module: MinerModule, fit: LevelFit, chunks: Sequence[int]
    ) -> None:
        """Start a level's bar."""
        self._fit = fit
        self._n_steps = sum(len(fit.chunks[chunk]) for chunk in chunks) * fit.n_steps
        self._bars.reset(self._work, total=self._n_steps)
        self.on_block_steps(trainer, module, 0)

    def on_block_steps(self, trainer: pl.Trainer, module: MinerModule, n_block_steps: int) -> None:
        """Advance the level's bar, which refits make longer."""
        fit = self._fit
        quality = f"  {psnr_of_sse(fit.block_mse, 1):.2f} dB"
        text = f"level {fit.level}{'' if math.isnan(fit.block_mse) else quality}"
        total = self._n_steps + fit.n_refit_steps
        self._bars.update(self._work, advance=n_block_steps, total=total, description=text)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that the level is rendered and scored."""
        self._bars.update(self._work, description=f"scoring level {self._fit.level}")

    def on_level_end(self, trainer: pl.Trainer, module: MinerModule, result: LevelResult) -> None:
        """Advance the bar of levels."""
        text = f"levels  {result.record.psnr_db:.2f} dB"
        self._bars.update(self._levels, advance=1, description=text)

    def on_scored(self, trainer: pl.Trainer, module: ScoredModule) -> None:
        """Say what the other callbacks do."""
        self._bars.update(self._work, description="drawing and writing")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Remove the bars."""
        self._bars.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Remove the bars."""
        self._bars.stop()
