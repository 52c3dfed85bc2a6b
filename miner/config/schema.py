"""What pydantic finds wrong, said in one line each."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from miner.support.errors import ConfigError


def validation_messages(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """One line for each wrong setting: its name, its value and its rule.

    The rule is the field's description in the schema.
    """
    found: dict[str, str] = {}
    for problem in error.errors():
        name, rule = _describe(schema, [str(part) for part in problem["loc"]])
        if problem["type"] == "extra_forbidden":
            name = ".".join(str(part) for part in problem["loc"])
            rule = "there is no such setting; see python -m miner.run --help"
        if problem["type"] == "missing":
            found.setdefault(name, f"{name}: is missing, and {rule or problem['msg']}")
        else:
            found.setdefault(name, f"{name}={_typed(problem['input'])}: {rule or problem['msg']}")
    return list(found.values())


def _typed(value: Any) -> str:
    """A value as people type it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _describe(schema: type[BaseModel], path: Sequence[str]) -> tuple[str, str]:
    """The name of the setting at a path of the schema, and its rule."""
    model: Any = schema
    names: list[str] = []
    rule = ""
    for part in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
        fields = {f.alias or name: f for name, f in model.model_fields.items()}
        names.append(part)
        if part in fields:
            rule = fields[part].description or ""
        model = fields[part].annotation if part in fields else None
    return ".".join(names), rule


# A default that is not checked: a component without this field is fine, null in it is not.
_UNSET: Any = None


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _Component(BaseModel):
    """A group that names a class; a class from elsewhere may have fields that are unknown here."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow", allow_inf_nan=False)
    target: Annotated[str, Field(alias="_target_", description="must name a class")]


def _number(rule: str, **bounds: Any) -> Any:
    return Field(description=rule, **bounds)


_Positive = Annotated[float, _number("must be a number above 0", gt=0)]


_Ratio = Annotated[float, _number("must be above 0 and at most 1", gt=0, le=1)]


_Count = Annotated[
    int, _number("must be a whole number of at least 1, at most 2^62", ge=1, le=2**62)
]


_CountRule = "must be a whole number of at least 1, or a list of them coarse to fine, as [30,20]"


_CountEach = Annotated[int, Field(ge=1, le=2**31)]


_CountPerLevel = Annotated[
    _CountEach | Annotated[list[_CountEach], Field(min_length=1)], Field(description=_CountRule)
]


class _Image(_Group):
    path: Annotated[str, Field(description="must name an image file or sample:NAME", min_length=1)]
    max_pixels: _Count
    crop_px: Annotated[
        Annotated[int, Field(ge=1)] | None,
        Field(description="must be a whole number of at least 1, or null for the whole image"),
    ]


class _Pyramid(_Component):
    n_levels: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1, le=32)],
        Field(description="must be a whole number from 1 to 32, or auto"),
    ] = "auto"


class _Activation(_Component):
    a: _Positive = _UNSET
    omega: _Positive = _UNSET
    s: _Positive = _UNSET
    bias_bound: _Positive = _UNSET


class _Encoding(_Component):
    n_frequencies: Annotated[int, _number("must be a whole number from 1 to 64", ge=1, le=64)] = (
        _UNSET
    )
    scale: _Positive = _UNSET


_WidthRule = "must be a whole number from 1 to 1024, or a list of them coarse to fine, as [30,20]"


_WidthEach = Annotated[int, Field(ge=1, le=1024)]


class _Model(_Group):
    width: Annotated[
        _WidthEach | Annotated[list[_WidthEach], Field(min_length=1)], Field(description=_WidthRule)
    ]
    depth: Annotated[int, _number("must be a whole number from 1 to 16", ge=1, le=16)]


_Width = Annotated[int, _number("must be a whole number from 1 to 1024", ge=1, le=1024)]


class _Sizing(_Component):
    max_refits: Annotated[int, _number("must be a whole number from 0 to 8", ge=0, le=8)] = _UNSET
    probe_steps: _Count = _UNSET
    gain_db: Annotated[float, _number("must be 0 or more", ge=0)] = _UNSET
    features_per_db: _Positive = _UNSET
    parameters_per_pixel: _Positive = _UNSET
    min_width: _Width = _UNSET
    max_width: _Width = _UNSET


class _Readout(_Component):
    ridge: _Positive = _UNSET
    frequency: _Positive = _UNSET


class _Weights(_Component):
    gain: _Positive = _UNSET
    max_generations: Annotated[int, _number("must be a whole number from 0 to 16", ge=0, le=16)] = (
        _UNSET
    )


class _Optimizer(_Component):
    lr: Annotated[float, _number("must be a number above 0, at most 1e6", gt=0, le=1e6)]


class _Schedule(_Component):
    final_ratio: _Ratio = _UNSET
    decay: _Ratio = _UNSET


class _Loss(_Component):
    floor: _Positive = _UNSET


class _Pruning(_Component):
    every_n_steps: _Count
    min_change: _Positive = _UNSET


class _Objective(_Component):
    quality: str = _UNSET
    cost: str = _UNSET
    budget: _Positive = _UNSET
    db_per_doubling: _Positive = _UNSET


class _Fitting(_Group):
    max_mse: _Positive
    coarse_ratio: Annotated[float, _number("must be a number of at least 1", ge=1)]
    max_steps: _CountPerLevel
    batch_pixels: Annotated[
        Literal["all"] | Annotated[int, Field(ge=1)],
        Field(description="must be a whole number of at least 1, or all"),
    ]
    blocks_per_shard: _Count
    max_memory_gib: Annotated[float, _number("must be above 0, at most 1e6", gt=0, le=1e6)]
    in_memory_mib: Annotated[int, _number("must be a whole number of at least 0", ge=0)]
    scratch_dir: Annotated[
        str | None, Field(description="must name a folder, or null for the run's own")
    ]


class _Trainer(_Group):
    accelerator: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="must be auto, cpu or cuda: choose with trainer=cpu"),
    ]
    devices: Annotated[int, _number("must be a whole number from 1 to 1024", ge=1, le=1024)]
    num_nodes: Annotated[int, _number("must be a whole number from 1 to 65536", ge=1, le=2**16)]
    strategy: Annotated[
        Literal["auto", "ddp"],
        Field(description="must be auto, or ddp for several devices: choose with trainer=ddp"),
    ]
    profiler: Annotated[
        Literal["simple", "advanced"] | None,
        Field(description="must be null, simple or advanced"),
    ]


class _WandB(_Group):
    target: Annotated[str, Field(alias="_target_", description="must name a class")]
    project: Annotated[str, Field(description="must be a name", min_length=1)]
    offline: Annotated[bool, Field(description="must be true or false")]
    group: Annotated[str | None, Field(description="must be a name or null")]
    job_type: Annotated[str, Field(description="must be a name", min_length=1)]
    log_representation: Annotated[bool, Field(description="must be true or false")]
    tags: Annotated[list[str], Field(description="must be a list of words, as [a,b]")]
    notes: Annotated[str | None, Field(description="must be a text or null")]
    init_timeout_s: _Positive


class _Plain(_Group):
    target: Annotated[str, Field(alias="_target_", description="must name a class")]
    name: Annotated[str, Field(description="must be a folder's name", min_length=1)]
    version: Annotated[str, Field(description="must be a folder's name or empty")]
    default_hp_metric: Annotated[bool, Field(description="must be true or false")] = _UNSET


class _Loggers(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="allow")
    __pydantic_extra__: dict[str, _Component]
    wandb: _WandB = _UNSET
    csv: _Plain = _UNSET
    tensorboard: _Plain = _UNSET


class RunConfig(_Group):
    """A composed configuration, checked. Fields mirror the groups of `conf/`."""

    image: _Image
    pyramid: _Pyramid
    activation: _Activation
    encoding: _Encoding
    model: _Model
    capacity: _Sizing
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
    logger: Annotated[
        _Loggers,
        Field(description="must be loggers, as logger=[wandb,csv]; logger=none for no logger"),
    ]
    patch_size: Annotated[
        int,
        _number("must be from 2 to 512 pixels; 16 to 64 serve most images", ge=2, le=512),
    ]
    seed: Annotated[int, _number("must be a whole number from 0 to 2^63 - 1", ge=0, lt=2**63)]
    pictures: Annotated[bool, Field(description="must be true or false")]
    resume: Annotated[
        None,
        Field(
            description="must stand on the command line of a single run, as resume=FOLDER; "
            "a sweep is started again with hydra.sweep.dir=FOLDER"
        ),
    ]


def check_config(config: DictConfig) -> RunConfig:
    """Check types, ranges and combinations. Takes milliseconds; reads no image, imports no torch.

    Raises:
        ConfigError: one line for each wrong setting.
    """
    try:
        checked = RunConfig.model_validate(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{error.full_key}: {reason}; give it a value") from None
    except ValidationError as error:
        raise ConfigError("\n".join(validation_messages(error, RunConfig))) from None
    pixels, most = checked.fitting.batch_pixels, checked.patch_size**2
    if pixels != "all" and pixels > most:
        raise ConfigError(
            f"fitting.batch_pixels={pixels}: a patch of patch_size={checked.patch_size} has "
            f"{most} pixels; use fitting.batch_pixels=all"
        )
    least, widest = checked.capacity.min_width, checked.capacity.max_width
    if least is not None and widest is not None and least > widest:
        raise ConfigError(
            f"capacity.min_width={least}: must be at most capacity.max_width, which is {widest}; "
            "lower it"
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
                f"{name}={list(value)}: this pyramid's number of levels is {n_levels}; give no "
                "more numbers than that, coarse to fine, or set pyramid.n_levels"
            )
