"""The types, ranges and combinations of settings, checked in milliseconds, without torch."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ConfigDict, Field, ValidationError


class ConfigError(ValueError):
    """A setting is wrong. The message names its value, the rule and the remedy."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _Component(BaseModel):
    """A group that names a class; a class from elsewhere may have fields that are unknown here."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    target: Annotated[str, Field(alias="_target_", description="must name a class")]


def _number(rule: str, **bounds: Any) -> Any:
    return Field(description=rule, **bounds)


_Positive = Annotated[float, _number("must be a number above 0", gt=0)]
_MaybePositive = Annotated[float | None, _number("must be a number above 0", gt=0)]
_MaybeRatio = Annotated[float | None, _number("must be above 0 and at most 1", gt=0, le=1)]
_Count = Annotated[int, _number("must be a whole number of at least 1", ge=1)]
_CountRule = "must be a whole number of at least 1, or a list of them coarse to fine, as [64,32,20]"
_CountEach = Annotated[int, Field(ge=1)]
_CountPerLevel = Annotated[
    _CountEach | Annotated[list[_CountEach], Field(min_length=1)], Field(description=_CountRule)
]


class _Image(_Group):
    path: Annotated[str, Field(description="must name an image file or sample:NAME", min_length=1)]
    max_pixels: _Count


class _Pyramid(_Component):
    n_levels: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1, le=32)],
        Field(description="must be a whole number from 1 to 32, or auto"),
    ] = "auto"


class _Activation(_Component):
    a: _MaybePositive = None
    omega: _MaybePositive = None
    s: _MaybePositive = None
    bias_bound: _MaybePositive = None


class _Encoding(_Component):
    n_frequencies: Annotated[
        int | None, _number("must be a whole number from 1 to 64", ge=1, le=64)
    ] = None
    scale: _MaybePositive = None


class _Model(_Group):
    width: _CountPerLevel
    depth: Annotated[int, _number("must be a whole number from 1 to 16", ge=1, le=16)]


class _Readout(_Component):
    ridge: _MaybePositive = None
    frequency: _MaybePositive = None


class _Weights(_Component):
    gain: _MaybePositive = None
    max_generations: Annotated[
        int | None, _number("must be a whole number from 0 to 16", ge=0, le=16)
    ] = None


class _Optimizer(_Component):
    lr: _Positive


class _Schedule(_Component):
    final_ratio: _MaybeRatio = None
    decay: _MaybeRatio = None


class _Loss(_Component):
    floor: _MaybePositive = None


class _Pruning(_Component):
    every_n_steps: _Count
    min_change: _MaybePositive = None


class _Fitting(_Group):
    max_mse: _Positive
    max_steps: _CountPerLevel
    pixels_per_step: Annotated[
        Literal["all"] | Annotated[int, Field(ge=1)],
        Field(description="must be a whole number of at least 1, or all"),
    ]
    chunk_size: _Count
    max_memory_gib: _Positive


class _Trainer(_Group):
    accelerator: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="must be auto, cpu or cuda: choose with trainer=cpu"),
    ]
    devices: Annotated[
        Literal[1], Field(description="must be 1: a run uses one device; start a run for each")
    ]
    profiler: Annotated[
        Literal["simple", "advanced"] | None,
        Field(description="must be null, simple or advanced"),
    ]


class RunConfig(_Group):
    """A composed configuration, checked. Fields mirror the groups of `conf/`."""

    image: _Image
    pyramid: _Pyramid
    activation: _Activation
    encoding: _Encoding
    model: _Model
    readout: _Readout
    weights: _Weights
    optimizer: _Optimizer
    schedule: _Schedule
    loss: _Loss
    pruning: _Pruning
    fitting: _Fitting
    storage: _Component
    trainer: _Trainer
    logger: dict[str, Any]
    patch_size: Annotated[
        int,
        _number("must be from 2 to 512 pixels; 16 to 64 serve most images", ge=2, le=512),
    ]
    seed: Annotated[int, _number("must be a whole number from 0 to 2^63 - 1", ge=0, lt=2**63)]


def check_config(config: DictConfig) -> RunConfig:
    """Check types, ranges and combinations. Takes milliseconds; reads no image, imports no torch.

    Raises:
        ConfigError: one line for each wrong setting.
    """
    content = OmegaConf.to_container(config, resolve=True)
    try:
        checked = RunConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(_lines(error))) from None
    pixels, most = checked.fitting.pixels_per_step, checked.patch_size**2
    if pixels != "all" and pixels > most:
        raise ConfigError(
            f"fitting.pixels_per_step={pixels}: a patch of patch_size={checked.patch_size} has "
            f"{most} pixels; use fitting.pixels_per_step=all"
        )
    if isinstance(checked.pyramid.n_levels, int):
        check_lists(checked, checked.pyramid.n_levels)
    return checked


def check_lists(config: RunConfig, n_levels: int) -> None:
    """Refuse lists with more entries than the pyramid has levels.

    Raises:
        ConfigError: the first entries of a list would do nothing.
    """
    per_level = {"model.width": config.model.width, "fitting.max_steps": config.fitting.max_steps}
    for name, value in per_level.items():
        if isinstance(value, Sequence) and len(value) > n_levels:
            raise ConfigError(
                f"{name}={list(value)}: the pyramid of this image has {n_levels} levels; "
                f"give at most {n_levels} numbers, coarse to fine, or set pyramid.n_levels"
            )


def _lines(error: ValidationError) -> list[str]:
    """One line for each wrong setting: its name, value and rule."""
    found: dict[str, str] = {}
    for problem in error.errors():
        group, *rest = [str(part) for part in problem["loc"]]
        model = (
            RunConfig.model_fields[group].annotation if group in RunConfig.model_fields else None
        )
        is_group = isinstance(model, type) and issubclass(model, BaseModel)
        name = f"{group}.{rest[0]}" if is_group and rest else group
        field = model.model_fields.get(rest[0]) if is_group and rest else None  # type: ignore[union-attr]
        field = field or RunConfig.model_fields.get(group)
        rule = field.description if field and field.description else problem["msg"]
        if problem["type"] == "extra_forbidden":
            rule = "there is no such setting; see python -m miner.run --help"
        found.setdefault(name, f"{name}={problem['input']}: {rule}")
    return list(found.values())
