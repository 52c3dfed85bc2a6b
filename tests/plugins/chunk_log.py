"""A callback and a logger of one's own: a line for each chunk, and all numbers in a text file."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from miner.callbacks.base import Callback
from miner.engine.module import MinerModule
from miner.representation import Shard


class ChunkLog(Callback):
    """Appends level, chunk and number of networks to a file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_chunk_end(self, trainer: pl.Trainer, module: MinerModule, shard: Shard) -> None:
        with self.path.open("a") as file:
            file.write(f"{shard.level} {shard.chunk} {len(shard.blocks)}\n")


class TextLogger(Logger):
    """Writes `name value` for each number, and settings before them."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = Path(path)

    @property
    def name(self) -> str:
        return "text"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        self._write(dict(params) if isinstance(params, Mapping) else vars(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._write(metrics)

    def _write(self, numbers: Mapping[str, Any]) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{name} {value}\n" for name, value in numbers.items())
