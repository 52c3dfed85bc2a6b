"""Types, ranges and former names of all settings, and a line for each that breaks a rule."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from miner.support.errors import ConfigError

T = TypeVar("T")
_ABSENT: Any = None  # default of a field that not all classes of a group have; null is refused
_PER_LEVEL = ", or a list of them coarse to fine, as [30,20]"
_NEW_GROUPS = {"sizing": "capacity", "kernel": "backend"}
_NEW_OPTIONS = {
    "capacity": {"by_need": "target_error", "by_budget": "budget"},
    "backend": {"fused": "compiled"},
}
_NEW_FIELDS = {
    "capacity.least": "capacity.min_width",
    "capacity.most": "capacity.max_width",
    "capacity.retries": "capacity.max_refits",
    "capacity.pilot_steps": "capacity.probe_steps",
    "fitting.pixels_per_step": "fitting.batch_pixels",
    "fitting.chunk_size": "fitting.blocks_per_shard",
}


def _rule(text: str, **bounds: Any) -> Any:
    return Field(description=f"must {text}", **bounds)


def _whole(low: int, high: int, default: Any = ...) -> Any:
    return _rule(f"be a whole number from {low} to {high}", ge=low, le=high, default=default)


_AtLeast1 = Annotated[int, Field(ge=1)]
_Class = Annotated[str, Field(description="must name a class", alias="_target_")]
_Count = Annotated[int, _rule("be a whole number of at least 1, at most 2^62", ge=1, le=2**62)]
_Flag = Annotated[bool, _rule("be true or false")]
_Name = Annotated[str, _rule("be a name", min_length=1)]
_Positive = Annotated[float, _rule("be a number above 0", gt=0)]
_Ratio = Annotated[float, _rule("be above 0 and at most 1", gt=0, le=1)]
_Several = Annotated[list[T], Field(min_length=1)]
_Steps = Annotated[int, Field(ge=1, le=2**31)]
_Width = Annotated[int, Field(ge=1, le=1024)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Component(_Group):
    """A group that names a class; a class from elsewhere may have fields that are unknown here."""

    model_config = ConfigDict(extra="allow")
    target: _Class


class _Image(_Group):
    path: str = _rule("name an image file or sample:NAME", min_length=1)
    max_pixels: _Count
    crop_px: _AtLeast1 | None = _rule("be a whole number of at least 1, or null for all of it")


class _Pyramid(_Component):
    n_levels: Literal["auto"] | Annotated[int, Field(ge=1, le=32)] = _rule(
        "be a whole number from 1 to 32, or auto", default="auto"
    )


class _Activation(_Component):
    a: _Positive = _ABSENT
    omega: _Positive = _ABSENT
    s: _Positive = _ABSENT
    bias_bound: _Positive = _ABSENT


class _Encoding(_Component):
    n_frequencies: int = _whole(1, 64, _ABSENT)
    scale: _Positive = _ABSENT


class _Model(_Group):
    width: _Width | _Several[_Width] = _rule(f"be a whole number from 1 to 1024{_PER_LEVEL}")
    depth: int = _whole(1, 16)


class _Capacity(_Component):
    max_refits: int = _whole(0, 8, _ABSENT)
    probe_steps: _Count = _ABSENT
    gain_db: float = _rule("be 0 or more", ge=0, default=_ABSENT)
    features_per_db: _Positive = _ABSENT
    parameters_per_pixel: _Positive = _ABSENT
    min_width: int = _whole(1, 1024, _ABSENT)
    max_width: int = _whole(1, 1024, _ABSENT)


class _Readout(_Component):
    ridge: _Positive = _ABSENT
    frequency: _Positive = _ABSENT


class _Weights(_Component):
    gain: _Positive = _ABSENT
    max_generations: int = _whole(0, 16, _ABSENT)


class _Optimizer(_Component):
    lr: float = _rule("be a number above 0, at most 1e6", gt=0, le=1e6)


class _Schedule(_Component):
    final_ratio: _Ratio = _ABSENT
    decay: _Ratio = _ABSENT


class _Loss(_Component):
    floor: _Positive = _ABSENT


class _Pruning(_Component):
    every_n_steps: _Count
    min_change: _Positive = _ABSENT


class _Objective(_Component):
    quality: str = _ABSENT
    cost: str = _ABSENT
    budget: _Positive = _ABSENT
    db_per_doubling: _Positive = _ABSENT


class _Fitting(_Group):
    max_mse: _Positive
    coarse_ratio: float = _rule("be a number of at least 1", ge=1)
    max_steps: _Steps | _Several[_Steps] = _rule(f"be a whole number of at least 1{_PER_LEVEL}")
    batch_pixels: Literal["all"] | _AtLeast1 = _rule("be a whole number of at least 1, or all")
    blocks_per_shard: _Count
    max_memory_gib: float = _rule("be above 0, at most 1e6", gt=0, le=1e6)
    in_memory_mib: int = _rule("be a whole number of at least 0", ge=0)
    scratch_dir: str | None = _rule("name a folder, or null for the run's own")


class _Trainer(_Group):
    accelerator: Literal["auto", "cpu", "cuda"] = _rule(
        "be auto, cpu or cuda: choose with trainer=cpu"
    )
    devices: int = _whole(1, 1024)
    num_nodes: int = _whole(1, 2**16)
    strategy: Literal["auto", "ddp"] = _rule(
        "be auto, or ddp for several devices: choose with trainer=ddp"
    )
    profiler: Literal["simple", "advanced"] | None = _rule("be null, simple or advanced")


class _FileLogger(_Group):
    target: _Class
    name: str = _rule("be a folder's name", min_length=1, default=_ABSENT)
    version: str = _rule("be a folder's name or empty", default=_ABSENT)
    default_hp_metric: _Flag = _ABSENT


class _WandB(_Group):
    target: _Class
    project: _Name
    offline: _Flag
    group: str | None = _rule("be a name or null")
    job_type: _Name
    log_representation: _Flag
    tags: list[str] = _rule("be a list of words, as [a,b]")
    notes: str | None = _rule("be a text or null")
    init_timeout_s: _Positive = _ABSENT


class _Loggers(_Group):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Component]
    wandb: _WandB = _ABSENT
    csv: _FileLogger = _ABSENT
    tensorboard: _FileLogger = _ABSENT


class RunConfig(_Group):
    """A composed configuration, checked. Fields mirror the groups of `conf/`."""

    image: _Image
    pyramid: _Pyramid
    activation: _Activation
    encoding: _Encoding
    model: _Model
    capacity: _Capacity
    readout: _Readout
    weights: _Weights
    optimizer: _Optimizer
    schedule: _Schedule
    loss: _Loss
    pruning: _Pruning
    fitting: _Fitting
    storage: _Component
    backend: _Component
    objective: _Objective
    trainer: _Trainer
    logger: _Loggers = _rule("be loggers, as logger=[wandb,csv]; logger=none for no logger")
    patch_size: int = _rule("be from 2 to 512 pixels; 16 to 64 serve most images", ge=2, le=512)
    seed: int = _rule("be a whole number from 0 to 2^63 - 1", ge=0, lt=2**63)
    pictures: _Flag
    resume: None = _rule(
        "stand on the command line of a single run, as resume=FOLDER; "
        "a sweep is started again with hydra.sweep.dir=FOLDER"
    )


def check_config(config: DictConfig) -> RunConfig:
    """Check types, ranges and combinations; `ConfigError` with a line for each wrong setting.

    Takes milliseconds: reads no image, imports no torch.
    """
    try:
        checked = RunConfig.model_validate(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{error.full_key}: {reason}; give it a value") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_messages(error))) from None
    pixels, patch_pixels = checked.fitting.batch_pixels, checked.patch_size**2
    if pixels != "all" and pixels > patch_pixels:
        raise ConfigError(
            f"fitting.batch_pixels={pixels}: a patch of patch_size={checked.patch_size} has "
            f"{patch_pixels} pixels; use fitting.batch_pixels=all"
        )
    low, high = checked.capacity.min_width, checked.capacity.max_width
    if low is not None and high is not None and low > high:
        rule = f"must be at most capacity.max_width, which is {high}; lower it"
        raise ConfigError(f"capacity.min_width={low}: {rule}")
    if isinstance(checked.pyramid.n_levels, int):
        check_lists(checked, checked.pyramid.n_levels)
    return checked


def check_lists(config: RunConfig, n_levels: int) -> None:
    """Refuse, by a `ConfigError`, lists with more entries than the pyramid has levels."""
    per_level = {"model.width": config.model.width, "fitting.max_steps": config.fitting.max_steps}
    for name, value in per_level.items():
        if isinstance(value, Sequence) and len(value) > n_levels:
            raise ConfigError(
                f"{name}={value}: this pyramid's number of levels is {n_levels}; give no "
                "more numbers than that, coarse to fine, or set pyramid.n_levels"
            )


def refuse_old_name(name: str, value: Any) -> None:
    """Refuse an old group, option or field by a `ConfigError` with the new name.

    `value` may be a mapping of fields, or several options as `by_need,uniform`.
    """
    if isinstance(value, Mapping):
        for field, inner in value.items():
            refuse_old_name(f"{name}.{field}", inner)
    group, dot, field = name.partition(".")
    new = _NEW_GROUPS.get(group, group) + dot + field
    new = _NEW_FIELDS.get(new, new)
    options = str(value).split(",")
    new_options = [_NEW_OPTIONS.get(new, {}).get(option, option) for option in options]
    if (name, options) != (new, new_options):
        raise ConfigError(f"{name}={value}: is now {new}={','.join(new_options)}")


def _messages(error: ValidationError) -> list[str]:
    rules = dict(_rules(RunConfig))
    lines: dict[str, str] = {}
    for problem in error.errors():
        path = list(map(str, problem["loc"]))
        names = [".".join(path[:n]) for n in range(len(path), 0, -1)]
        if problem["type"] == "extra_forbidden":
            name, rule = names[0], "there is no such setting; see python -m miner.run --help"
        else:  # the end of a path may be an item of a list, or one of several types
            name = next(name for name in names if name in rules)
            rule = rules[name] or problem["msg"]
        value = problem["input"]
        typed = str(value).lower() if value is None or isinstance(value, bool) else str(value)
        is_missing = problem["type"] == "missing"
        line = f"{name}: is missing, and {rule}" if is_missing else f"{name}={typed}: {rule}"
        lines.setdefault(name, line)
    return list(lines.values())


def _rules(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for key, field in model.model_fields.items():
        name = prefix + (field.alias or key)
        yield name, field.description
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _rules(field.annotation, f"{name}.")
