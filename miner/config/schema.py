"""Types and ranges of all settings, and a line for each that breaks a rule."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from miner.config.trainer import REFUSED, TrainerConfig
from miner.support.components import find_class
from miner.support.errors import ConfigError, nearest
from miner.support.ranges import ClassName, Count, Group, Positive, Ranges, ranges_of, rule, whole

T = TypeVar("T")
_ABSENT: Any = None  # default of what not all configurations have; null is refused
_PER_LEVEL = ", or a list of them coarse to fine, as [30,20]"
_Flag = Annotated[bool, rule("be true or false")]
_Name = Annotated[str, rule("be a name", min_length=1)]
_Several = Annotated[list[T], Field(min_length=1)]
_Steps = Annotated[int, Field(ge=1, le=2**31)]
_Width = Annotated[int, whole(1, 1024)]
_OPEN = ("callbacks", "logger", "metrics", "paths", "extras")  # whose fields may have any name
_NEW_NAMES = {  # one after another
    "sizing": "capacity",
    "kernel": "backend",
    "capacity=by_need": "capacity=target_error",
    "backend=fused": "backend=compiled",
    "experiment=search": "hparams_search=optuna",
    "capacity.least": "capacity.min_width",
    "capacity.most": "capacity.max_width",
    "capacity.retries": "capacity.max_refits",
    "capacity.pilot_steps": "capacity.probe_steps",
    "fitting.pixels_per_step": "fitting.batch_pixels",
    "fitting.chunk_size": "fitting.blocks_per_shard",
    "fitting.coarse_ratio": "level_selection.coarse_ratio",
}


def _ascending(values: list[float]) -> list[float]:
    if len(values) != 2 or values[0] >= values[1]:
        raise ValueError("not ascending")
    return values


class ImageSettings(Group):
    """The group `image`."""

    path: str = rule("name an image file or sample:NAME", min_length=1)
    max_pixels: Count
    crop_px: Count | None = rule("be a whole number of at least 1, or null for all of it")
    axes: str | None = rule("name each axis by C, D, H or W, as HWC, or be null", default=None)
    range: Literal["auto", "dtype"] | Annotated[_Several[float], AfterValidator(_ascending)] = rule(
        "be auto, dtype, or [low,high] with low below high", default="auto"
    )
    nodata: Literal["auto", "none"] | float = rule(
        "be auto, none, or a number; NaN always is no data", default="auto"
    )
    mask: str | None = rule("name an image file, or be null", default=None, min_length=1)


class _Model(Ranges):
    width: _Width | _Several[_Width] = rule(f"be a whole number from 1 to 1024{_PER_LEVEL}")


class _Optimizer(Ranges):
    lr: float = rule("be a number above 0, at most 1e6", gt=0, le=1e6)


class _Fitting(Group):
    max_mse: float = rule(
        "be above 0 and below 1: a mean squared error in the unit range; 50 dB is 1e-5", gt=0, lt=1
    )
    target_psnr: float | None = rule(
        "be above 0 dB and at most 300, or null", default=None, gt=0, le=300
    )
    max_steps: _Steps | _Several[_Steps] = rule(f"be a whole number of at least 1{_PER_LEVEL}")
    batch_pixels: Literal["all"] | Count = rule("be a whole number of at least 1, or all")
    blocks_per_shard: Count
    max_memory_gib: float = rule("be above 0, at most 1e6", gt=0, le=1e6)
    in_memory_mib: int = rule("be a whole number of at least 0", ge=0)
    scratch_dir: str | None = rule("name a folder, or null for the run's own")


class _WandB(Group):
    target: ClassName
    save_dir: _Name
    project: _Name
    entity: str | None = rule("be a name or null")
    name: str | None = rule("be a text or null")
    offline: bool | None = rule("be true, false or null")
    group: str | None = rule("be a name or null")
    job_type: _Name
    log_representation: _Flag
    tags: list[str] = rule("be a list of words, as [a,b]")
    notes: str | None = rule("be a text or null")
    init_timeout_s: Positive = _ABSENT


class _Loggers(Group):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Ranges]
    wandb: _WandB = _ABSENT


class RunConfig(Group):
    """A composed configuration, checked. Fields mirror the groups of `conf/`."""

    image: ImageSettings
    method: Ranges
    pyramid: Ranges
    activation: Ranges
    encoding: Ranges
    model: _Model
    capacity: Ranges
    readout: Ranges
    weights: Ranges
    optimizer: _Optimizer
    schedule: Ranges
    loss: Ranges
    pruning: Ranges
    level_selection: Ranges
    fitting: _Fitting
    storage: Ranges
    backend: Ranges
    objective: Ranges
    trainer: TrainerConfig
    callbacks: dict[str, Ranges | None] = rule("name a class by _target_, or be null")
    metrics: dict[str, Ranges | None] = rule("name a class by _target_, or be null")
    logger: _Loggers = rule("name a class by _target_")
    paths: dict[str, _Name] = rule("name a folder")
    extras: dict[str, bool] = rule("be true or false")
    patch_size: int = rule("be from 2 to 512 pixels; 16 to 64 serve most images", ge=2, le=512)
    seed: int = rule("be a whole number from 0 to 2^63 - 1", ge=0, lt=2**63)
    resume: None = rule(
        "stand on the command line of a single run, as resume=FOLDER; "
        "a sweep is started again with hydra.sweep.dir=FOLDER"
    )
    tags: list[str] = rule("be a list of words, as [a,b]")
    task_name: _Name


_BASES = (Ranges, _Model)
COMPONENTS = {k: f.annotation for k, f in RunConfig.model_fields.items() if f.annotation in _BASES}
FIT_GROUPS = (*(k for k in COMPONENTS if k not in ("method", "objective")), "optimizer", "fitting")
"""Groups of the pyramid of blocks, which together with `patch_size` other methods do not use."""
TORCH_FREE = [name for name in COMPONENTS if name not in ("storage", "backend")]
"""Groups whose classes stand in modules that import no torch, which takes a second."""


def check_config(config: DictConfig, groups: Iterable[str] = TORCH_FREE) -> RunConfig:
    """Check types, ranges and combinations; `ConfigError` with a line for each wrong setting.

    Takes milliseconds: reads no image. Imports the classes of `groups` for their fields' ranges.
    """
    found = ((name, find_class(config.get(name))) for name in groups)
    ranges = ((k, ranges_of(cls, COMPONENTS[k])) for k, cls in found if isinstance(cls, type))
    model = _with_ranges(tuple(ranges))
    try:
        checked = model.model_validate(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{error.full_key}: {reason}; give it a value") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_messages(error, model))) from None
    _check_combinations(checked)
    return checked


@lru_cache
def _with_ranges(groups: tuple[tuple[str, type[Ranges]], ...]) -> type[RunConfig]:
    fields: Any = {group: (ranges, ...) for group, ranges in groups}
    model: type[RunConfig] = create_model("RunConfig", __base__=RunConfig, **fields)
    return model


def _check_combinations(checked: RunConfig) -> None:
    pixels, patch_pixels = checked.fitting.batch_pixels, checked.patch_size**2
    if pixels != "all" and pixels > patch_pixels:
        rule = f"a patch of patch_size={checked.patch_size} has {patch_pixels} pixels"
        raise ConfigError(f"fitting.batch_pixels={pixels}: {rule}; use fitting.batch_pixels=all")
    capacity = checked.capacity.model_dump(by_alias=True)
    low, high = capacity.get("min_width", 1), capacity.get("max_width", 1024)
    if low > high:
        rule = f"must be at most capacity.max_width, which is {high}; lower it"
        raise ConfigError(f"capacity.min_width={low}: {rule}")
    if checked.extras.get("enforce_tags") and not checked.tags:
        raise ConfigError("tags=[]: extras.enforce_tags asks for one; name some, as tags=[a,b]")


def settings(
    model: type[BaseModel] = RunConfig, prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """All groups and settings that the schema knows, with their dotted names."""
    for key, field in model.model_fields.items():
        name = prefix + (field.alias or key)
        yield name, field
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from settings(field.annotation, f"{name}.")


def no_such_setting(setting: str, others: Iterable[str] = ()) -> str:
    """Why a name or `name=value` is refused: its new name, or the nearest of these and `others`."""
    name = setting.partition("=")[0]
    group, _, field = name.partition(".")
    if group == "trainer" and field in REFUSED:
        return REFUSED[field]
    if renamed := new_name(setting):
        return f"is now {renamed}"
    names = [*(known for known, _ in settings() if "_target_" not in known), *others]
    near = nearest(name, names)
    remedy = f"did you mean {near}?" if near else "see python -m miner.run --help"
    return f"there is no such setting; {remedy}"


def new_name(setting: str) -> str | None:
    """`capacity.min_width=4` for `sizing.least=4`; None for what never had another name."""
    new = setting
    for old, name in _NEW_NAMES.items():
        if f"{new}.".startswith((f"{old}.", f"{old}=")):
            new = name + new.removeprefix(old)
    return None if new == setting else new


def _messages(error: ValidationError, model: type[RunConfig]) -> list[str]:
    known = dict(settings(model))
    lines: dict[str, str] = {}
    for problem in error.errors():
        path, value = list(map(str, problem["loc"])), problem["input"]
        names = [".".join(path[:n]) for n in range(len(path), 0, -1)]
        if problem["type"] == "extra_forbidden":
            name = names[0]
            while isinstance(value, Mapping) and len(value) == 1:  # `+a.b=1` gives one for a
                ((field, value),) = value.items()
                name = f"{name}.{field}"
            rule = no_such_setting(name)
        else:  # the end of a path may be an item of a list, or one of several types
            name = next(name for name in names if name in known)
            rule = known[name].description or problem["msg"]
            name = names[0] if name in _OPEN else name
        typed = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
        is_missing = problem["type"] == "missing"
        line = f"{name}: is missing, and {rule}" if is_missing else f"{name}={typed}: {rule}"
        lines.setdefault(name, line)
    return list(lines.values())
