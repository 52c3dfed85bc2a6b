"""Starting a W&B run: offline unless asked otherwise, and never a reason for a run to fail."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import wandb

_LOG = logging.getLogger("miner")
_INIT_TIMEOUT_S = 5.0
_TAG_LIMIT = 64  # W&B refuses longer ones
_NAME_LIMIT = 128


@dataclass(frozen=True)
class RunPlace:
    """Where a run is kept and what it is filed under, named as `wandb.init` does."""

    dir: str
    project: str
    job_type: str
    group: str | None = None
    name: str | None = None
    notes: str | None = None
    tags: Sequence[str] = ()

    def arguments(self) -> dict[str, Any]:
        """Arguments of `wandb.init`, texts no longer than W&B takes."""
        tags = dict.fromkeys(shortened(tag, _TAG_LIMIT) for tag in self.tags)
        name = None if self.name is None else shortened(self.name, _NAME_LIMIT)
        return asdict(self) | {"tags": list(tags), "name": name}


def start_run(place: RunPlace, offline: bool) -> "wandb.Run":
    """Start a run; without account or network an online one goes on offline.

    It replaces what an earlier start logged into the same folder, unless that was uploaded.
    """
    for run in Path(place.dir).glob("wandb/offline-run-*"):
        if not any(run.glob("*.synced")):
            shutil.rmtree(run)
    return _start_offline(place) if offline else _start_online(place)


def shortened(text: str, limit: int) -> str:
    """Cut the middle out of a long text: an override differs at its ends, key and value."""
    if len(text) <= limit:
        return text
    kept = limit - len("...")
    return f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"


def _start_offline(place: RunPlace) -> "wandb.Run":
    settings = wandb.Settings(silent=True)
    return wandb.init(mode="offline", settings=settings, **place.arguments())


def _start_online(place: RunPlace) -> "wandb.Run":
    # Without credentials wandb.init would ask for them at the terminal.
    if not wandb.login(prompt=False, verify=False):
        _LOG.warning("logger.wandb.offline=false: no W&B account is set up (wandb login); offline")
        return _start_offline(place)
    try:
        settings = wandb.Settings(init_timeout=_INIT_TIMEOUT_S, silent=True)
        return wandb.init(mode="online", settings=settings, **place.arguments())
    except (wandb.errors.Error, TimeoutError, OSError) as error:
        reason = str(error).splitlines()[0]
        _LOG.warning("logger.wandb.offline=false: W&B cannot be reached (%s); offline", reason)
        return _start_offline(place)
