"""Loggers that act when a fit begins, for runs that fail or change something on the way."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from pytorch_lightning.loggers import Logger


class ActingLogger(Logger):
    """Acts if `value`, which a command sets to one of its settings, is `at`."""

    def __init__(self, save_dir: Path, value: int = 0, at: int = 0, argument: str = "") -> None:
        super().__init__()
        self._is_on, self._argument = value == at, argument

    @property
    def name(self) -> str:
        return "acting"

    @property
    def version(self) -> str:
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        pass

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:
        if self._is_on:
            self.act(self._argument)

    def act(self, argument: str) -> None:
        raise NotImplementedError


class Raising(ActingLogger):
    def act(self, argument: str) -> None:
        raise get_class(argument or "builtins.RuntimeError")("out of\npaper")


class Warning(ActingLogger):
    def act(self, argument: str) -> None:
        warnings.warn("odd weather", stacklevel=1)


def acting(kind: type[ActingLogger], **settings: Any) -> str:
    """The override that adds such a logger."""
    fields = "".join(f",{name}:{value}" for name, value in settings.items())
    return f"+logger.acting={{_target_:acting_loggers.{kind.__name__}{fields}}}"
