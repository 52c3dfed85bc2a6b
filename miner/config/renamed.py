"""Former names of groups, options and settings: what is typed is refused with the new name."""

from collections.abc import Mapping
from typing import Any

from miner.config.trainer import DDP, REFUSED
from miner.support.errors import ConfigError

_NEW_GROUPS = {"sizing": "capacity", "kernel": "backend"}
_NEW_OPTIONS = {
    "capacity": {"by_need": "target_error", "by_budget": "budget"},
    "backend": {"fused": "compiled"},
    "trainer.strategy": {"ddp": DDP},
    "callbacks.pictures": {"false": "null", "False": "null"},
}
_NEW_FIELDS = {
    "capacity.least": "capacity.min_width",
    "capacity.most": "capacity.max_width",
    "capacity.retries": "capacity.max_refits",
    "capacity.pilot_steps": "capacity.probe_steps",
    "fitting.pixels_per_step": "fitting.batch_pixels",
    "fitting.chunk_size": "fitting.blocks_per_shard",
    "pictures": "callbacks.pictures",
}


def refuse_old_name(name: str, value: Any) -> None:
    """Refuse an old group, option or field by a `ConfigError` with the new name.

    Arguments of Lightning's Trainer that have no meaning here are refused with the reason. `value`
    may be a mapping of fields, or several options as `by_need,uniform`.
    """
    if isinstance(value, Mapping):
        for field, inner in value.items():
            refuse_old_name(f"{name}.{field}", inner)
    group, dot, field = name.partition(".")
    if group == "trainer" and field in REFUSED:
        raise ConfigError(f"{name}={value}: {REFUSED[field]}")
    new = _NEW_GROUPS.get(group, group) + dot + field
    new = _NEW_FIELDS.get(new, new)
    options = str(value).split(",")
    if name == "experiment" and "search" in options:
        raise ConfigError(f"{name}={value}: search is now hparams_search=optuna")
    new_options = [_NEW_OPTIONS.get(new, {}).get(option, option) for option in options]
    if (name, options) != (new, new_options):
        raise ConfigError(f"{name}={value}: is now {new}={','.join(new_options)}")
