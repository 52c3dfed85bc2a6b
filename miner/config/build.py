"""The objects that a composed configuration describes."""

from collections.abc import Sequence
from dataclasses import is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from omegaconf import DictConfig, OmegaConf

from miner.config.schema import COMPONENTS, check_config
from miner.metrics.objective import Objective
from miner.models.network import BlockModel
from miner.support.components import find_class
from miner.support.errors import ConfigError
from miner.support.files import expand_home
from miner.support.lightning import import_lightning
from miner.support.run_files import REPORT, SCRATCH

if TYPE_CHECKING:
    from miner.fitting.settings import FitSettings
    from miner.metrics.base import TileMetric

_PACKAGED = Path(__file__).resolve().parents[1] / "conf"  # only in an installed wheel
CONF_FOLDER = _PACKAGED if _PACKAGED.is_dir() else _PACKAGED.parents[1] / "conf"
_LOGGER_PACKAGES = {"MLFlowLogger": "mlflow", "CometLogger": "comet_ml"}  # of Lightning's classes
_SLOW = ("miner.", "pytorch_lightning.loggers.")  # whose import takes seconds


def build_settings(config: DictConfig) -> "FitSettings":
    """The objects that a fit is made of. Imports torch.

    Raises `ConfigError` for a wrong setting or class, or an optimiser that mixes blocks.
    """
    from miner.fitting.settings import FitSettings, at_level
    from miner.fitting.steps import probe

    checked = check_config(config, COMPONENTS)
    kinds = get_type_hints(FitSettings) | get_type_hints(BlockModel)
    optimizer = _instantiate("optimizer", config.optimizer)
    try:
        probe(optimizer)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    numbers = checked.fitting.model_dump(exclude={"in_memory_mib", "scratch_dir"})
    if (target_db := numbers.pop("target_psnr")) is not None:
        numbers["max_mse"] = 10 ** (-target_db / 10)
    if numbers["batch_pixels"] == "all":
        numbers["batch_pixels"] = None
    width, of_model = checked.model.width, ("encoding", "activation")
    parts = {name: OmegaConf.to_container(config[name], resolve=True) for name in of_model}
    more: Any = {"model": {"width": at_level(width, 0), **parts}}
    groups = [name for name in COMPONENTS if name in kinds]
    built = {k: build_component(k, kinds[k], config, **more.get(k, {})) for k in groups}
    if halo := built["loss"].halo:
        loss = f"loss={built['loss']}"
        if numbers["batch_pixels"] is not None:
            raise ConfigError(f"{loss}: looks at whole blocks; set fitting.batch_pixels=all")
        if not isinstance(halo, int) or not 0 < halo <= checked.patch_size:
            rule = f"must be a whole number of pixels, 0 to patch_size={checked.patch_size}"
            raise ConfigError(f"{loss}: halo={halo!r} {rule}; change it, or take larger patches")
    for part in of_model:  # which the model holds
        del built[part]
    own: Any = {"width": width, "patch_size": checked.patch_size, "seed": checked.seed}
    return FitSettings(optimizer=optimizer, **built, **numbers, **own)


def check_lists(settings: "FitSettings", sides: tuple[int, ...]) -> None:
    """Refuse, by a `ConfigError`, lists with more entries than the pyramid has levels."""
    n_levels = settings.pyramid.levels_for(sides, settings.patch_size)
    per_level = {"model.width": settings.width, "fitting.max_steps": settings.max_steps}
    for name, value in per_level.items():
        if isinstance(value, Sequence) and len(value) > n_levels:
            remedy = "give no more numbers than that, coarse to fine, or set pyramid.n_levels"
            raise ConfigError(
                f"{name}={value}: this pyramid's number of levels is {n_levels}; {remedy}"
            )


def build_objective(config: DictConfig) -> Objective:
    """What a search maximises; `ConfigError` if it cannot be built or is of the wrong kind."""
    return cast(Objective, build_component("objective", Objective, config))


def build_metrics(config: DictConfig) -> "dict[str, TileMetric]":
    """What a run scores beside PSNR and SSIM, by name; `ConfigError` for one that cannot be."""
    names = [name for name, settings in config.metrics.items() if settings]
    if not names:
        return {}
    import_lightning()  # with which torchmetrics is imported fast
    from miner.comparison.comparison import title
    from miner.metrics.base import TileMetric

    if taken := [name for name in names if title(name) != name]:
        raise ConfigError(f"metrics.{taken[0]}: reports have a number of this name; choose another")
    built = {name: build_component(f"metrics.{name}", TileMetric, config) for name in names}
    for name, metric in built.items():
        if not isinstance(metric.halo, int) or metric.halo < 0:
            rule = f"halo={metric.halo!r}: must be a whole number of pixels, at least 0"
            raise ConfigError(f"metrics.{name}: {type(metric).__name__}.{rule}")
    return built


def device_type(accelerator: str) -> str:
    """The kind of device that a trainer's accelerator, if it is there, selects: cpu or cuda."""
    import torch

    return "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"


def check_cuda(setting: str, remedy: str) -> None:
    """Refuse CUDA, by a `ConfigError`, where PyTorch finds no device."""
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"{setting}: PyTorch finds no CUDA device here; use {remedy}")


def callback_names(config: DictConfig) -> list[str]:
    """The dotted names of a run's callbacks, in their order."""
    names = [f"callbacks.{name}" for name, settings in config.callbacks.items() if settings]
    return names + [f"trainer.callbacks[{n}]" for n in range(len(config.trainer.callbacks or ()))]


def files_of(config: DictConfig) -> list[str]:
    """What a run makes, beside its logs: names and patterns in its folder, else absolute ones."""
    names, own = [REPORT, SCRATCH], Path(config.paths.output_dir)
    for settings in (OmegaConf.select(config, name) for name in callback_names(config)):
        for file in getattr(find_class(settings), "files", ()):
            path = Path(settings.dirpath, file)
            is_in_folder = path.is_relative_to(own)
            names.append(str(path.relative_to(own) if is_in_folder else path.absolute()))
    return names


def sources_of(config: DictConfig) -> list[Path]:
    """The files that a run reads: the image and its mask."""
    return [Path(expand_home(one)) for one in (config.image.path, config.image.mask) if one]


def check_classes(config: DictConfig) -> None:
    """Refuse, by a `ConfigError`, loggers and callbacks that are not installed."""
    import_lightning()  # before foreign classes do, with all that it seldom uses
    for name in [*(f"logger.{name}" for name in config.logger), *callback_names(config)]:
        settings = OmegaConf.select(config, name)
        target = str(settings.get("_target_"))
        package = _LOGGER_PACKAGES.get(target.rpartition(".")[2], "miner")
        if find_spec(package) is None:
            raise ConfigError(f"{name}: needs {package}; pip install {package}")
        if not target.startswith(_SLOW) and find_class(settings) is None:
            remedy = "is the name right, and its package in PYTHONPATH?"
            raise ConfigError(f"{name}._target_={target}: cannot be imported; {remedy}")


def build_component(name: str, kind: type, config: DictConfig, **more: Any) -> Any:
    """Build what a part of the configuration describes; `name` is dotted, `more` are arguments.

    Refuses a class of another kind, by a `ConfigError`, before it calls anything.
    """
    settings = OmegaConf.select(config, name)
    found = find_class(settings) or kind  # Hydra says why a class cannot be imported
    target, base = f"{name}._target_={settings._target_}", f"{kind.__module__}.{kind.__name__}"
    if isinstance(found, type) and not issubclass(found, kind):
        raise ConfigError(f"{target}: must be a subclass of {base}")
    own = vars(found) if isinstance(found, type) and is_dataclass(kind) else {}
    if "__init__" in own and "__dataclass_fields__" not in own:
        rule = "has an __init__ of its own; make it a frozen dataclass, whose fields are stored"
        raise ConfigError(f"{target}: {rule}")
    for field in getattr(found, "__dataclass_fields__", ()):
        if callable(getattr(kind, field, None)):
            rule = f"{base} has a method of this name; give that field another"
            raise ConfigError(f"{name}.{field}: {rule}")
    built = _instantiate(name, settings, **more)
    if not isinstance(built, kind):
        raise ConfigError(f"{target}: gives {built!r}, no {base}")
    return built


def _instantiate(name: str, settings: DictConfig, **more: Any) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(settings, **more)
    except InstantiationException as error:
        reason = " ".join(str(error.__cause__ or error.__context__ or error).split())
        raise ConfigError(
            f"{name}._target_={settings._target_}: {reason.partition(' Are you sure')[0]}; is the "
            "name right, its package in PYTHONPATH, the class a frozen dataclass with all methods "
            "of its base, and every setting one that it takes? One that the chosen file sets is "
            f"left out by ~{name}.SETTING"
        ) from error
