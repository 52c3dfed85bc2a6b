"""Settings that have another name now, to refuse the old one with the new one."""

from collections.abc import Mapping
from typing import Any

from miner.support.errors import ConfigError

_GROUPS = {"sizing": "capacity", "kernel": "backend"}
_OPTIONS = {
    "capacity": {"by_need": "target_error", "by_budget": "budget"},
    "backend": {"fused": "compiled"},
}
_FIELDS = {
    "capacity.least": "capacity.min_width",
    "capacity.most": "capacity.max_width",
    "capacity.retries": "capacity.max_refits",
    "capacity.pilot_steps": "capacity.probe_steps",
    "fitting.pixels_per_step": "fitting.batch_pixels",
    "fitting.chunk_size": "fitting.blocks_per_shard",
}


def refuse_old_name(name: str, value: Any) -> None:
    """Refuse an old group, option or field, such as `sizing=by_need` or `fitting.chunk_size=8`.

    The `ConfigError` gives the new name. `value` may be a mapping of fields, or several options as
    `by_need,uniform`.
    """
    if isinstance(value, Mapping):
        for field, inner in value.items():
            refuse_old_name(f"{name}.{field}", inner)
    group, dot, field = name.partition(".")
    new = _GROUPS.get(group, group) + dot + field
    new = _FIELDS.get(new, new)
    options = str(value).split(",")
    new_options = [_OPTIONS.get(new, {}).get(option, option) for option in options]
    if (name, options) != (new, new_options):
        raise ConfigError(f"{name}={value}: is now {new}={','.join(new_options)}")
