"""The objects that a composed configuration describes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig

from miner.config.schema import check_config
from miner.metrics.objective import Objective
from miner.support.errors import ConfigError

if TYPE_CHECKING:
    from miner.fitting.settings import FitSettings

_PACKAGED = Path(__file__).resolve().parents[1] / "conf"  # only in an installed wheel
CONF_FOLDER = _PACKAGED if _PACKAGED.is_dir() else _PACKAGED.parents[1] / "conf"


def build_settings(config: DictConfig) -> "FitSettings":
    """The objects that a fit is made of. Imports torch.

    Raises `ConfigError` for a class of the wrong kind, or an optimiser that mixes blocks.
    """
    from miner.fitting.backend import Backend
    from miner.fitting.capacity import Capacity
    from miner.fitting.criteria import Loss, Pruning, Schedule
    from miner.fitting.initialization import Weights
    from miner.fitting.readout import Readout
    from miner.fitting.settings import FitSettings
    from miner.fitting.steps import probe
    from miner.models.activations import Activation
    from miner.models.encodings import Encoding
    from miner.pyramids.pyramid import Pyramid
    from miner.representation.storage import Storage

    checked = check_config(config)
    kinds = (Pyramid, Activation, Encoding, Readout, Weights, Schedule, Loss, Pruning, Storage)
    components = {kind.__name__.lower(): kind for kind in (*kinds, Backend, Capacity)}
    optimizer = _instantiate("optimizer", config.optimizer)
    try:
        probe(optimizer)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    numbers = checked.model.model_dump()
    numbers |= checked.fitting.model_dump(exclude={"in_memory_mib", "scratch_dir"})
    if numbers["batch_pixels"] == "all":
        numbers["batch_pixels"] = None
    return FitSettings(
        **{group: _component(group, kind, config[group]) for group, kind in components.items()},
        **numbers,
        optimizer=optimizer,
        patch_size=checked.patch_size,
        seed=checked.seed,
    )


def build_objective(config: DictConfig) -> Objective:
    """What a search maximises; `ConfigError` if it cannot be built or is of the wrong kind."""
    return cast(Objective, _component("objective", Objective, config.objective))


def device_type(accelerator: str) -> str:
    """The kind of device that a trainer's accelerator selects here: cpu or cuda."""
    import torch

    is_cuda = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    return "cuda" if is_cuda else "cpu"


def check_cuda(setting: str, remedy: str) -> None:
    """Refuse CUDA, by a `ConfigError`, where PyTorch finds no device."""
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"{setting}: PyTorch finds no CUDA device here; use {remedy}")


def _component(group: str, kind: type, config: DictConfig) -> Any:
    """Build a group's object; a class of another kind is refused before anything is called."""
    from hydra.utils import get_object

    try:
        found = get_object(config._target_)
    except Exception:  # whatever a module raises on import: `_instantiate` says what is wrong
        found = kind
    if isinstance(found, type) and issubclass(found, kind):
        return _instantiate(group, config)
    name = f"{kind.__module__}.{kind.__name__}"
    raise ConfigError(f"{group}._target_={config._target_}: must be a subclass of {name}")


def _instantiate(group: str, config: DictConfig) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(config)
    except InstantiationException as error:
        reason = " ".join(str(error.__cause__ or error.__context__ or error).split())
        raise ConfigError(
            f"{group}._target_={config._target_}: {reason}; is the name right, its package in "
            "PYTHONPATH, and every setting one that it takes?"
        ) from error
