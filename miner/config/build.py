"""The objects that a composed configuration stands for."""

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

    Raises:
        ConfigError: a class cannot be built, is of the wrong kind, or the optimiser mixes blocks.
    """
    from miner.fitting.backend import Backend
    from miner.fitting.capacity import Capacity
    from miner.fitting.criteria import Loss, Pruning, Schedule
    from miner.fitting.initialization import Weights
    from miner.fitting.optimizer import probe
    from miner.fitting.readout import Readout
    from miner.fitting.settings import FitSettings
    from miner.models.activations import Activation
    from miner.models.encodings import Encoding
    from miner.pyramids.pyramid import Pyramid
    from miner.representation.storage import Storage

    checked = check_config(config)
    kinds = {
        "pyramid": Pyramid,
        "activation": Activation,
        "encoding": Encoding,
        "readout": Readout,
        "weights": Weights,
        "schedule": Schedule,
        "loss": Loss,
        "pruning": Pruning,
        "storage": Storage,
        "backend": Backend,
        "capacity": Capacity,
    }
    optimizer = _instantiate("optimizer", config.optimizer)
    try:
        probe(optimizer)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    fitting = checked.fitting
    return FitSettings(
        **{group: _component(group, kind, config[group]) for group, kind in kinds.items()},
        optimizer=optimizer,
        patch_size=checked.patch_size,
        seed=checked.seed,
        width=checked.model.width,
        depth=checked.model.depth,
        max_mse=fitting.max_mse,
        coarse_ratio=fitting.coarse_ratio,
        max_steps=fitting.max_steps,
        batch_pixels=None if fitting.batch_pixels == "all" else fitting.batch_pixels,
        blocks_per_shard=fitting.blocks_per_shard,
        max_memory_gib=fitting.max_memory_gib,
    )


def build_objective(config: DictConfig) -> Objective:
    """What a search maximises.

    Raises:
        ConfigError: the class cannot be built, or is of the wrong kind.
    """
    return cast(Objective, _component("objective", Objective, config.objective))


def device_type(accelerator: str) -> str:
    """The kind of device that a trainer's accelerator stands for here: cpu or cuda."""
    import torch

    is_cuda = accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available())
    return "cuda" if is_cuda else "cpu"


def check_cuda(setting: str, remedy: str) -> None:
    """Refuse CUDA where there is none.

    Raises:
        ConfigError: PyTorch finds no device.
    """
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f"{setting}: PyTorch finds no CUDA device here; use {remedy}")


def _component(group: str, kind: type, config: DictConfig) -> Any:
    wrong = ConfigError(
        f"{group}._target_={config._target_}: must be a subclass of "
        f"{kind.__module__}.{kind.__name__}"
    )
    if not _may_give(config._target_, kind):  # before anything is called
        raise wrong
    built = _instantiate(group, config)
    if not isinstance(built, kind):
        raise wrong
    return built


def _may_give(target: str, kind: type) -> bool:
    """Whether a name is that of a subclass, or of nothing: that is for `_instantiate` to say."""
    from hydra.utils import get_object

    try:
        found = get_object(target)
    except Exception:  # whatever a module raises when it is imported
        return True
    return isinstance(found, type) and issubclass(found, kind)


def _instantiate(group: str, config: DictConfig) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return instantiate(config)
    except InstantiationException as error:
        cause = error.__cause__ or error.__context__
        reason = " ".join(str(cause or error).split())
        raise ConfigError(
            f"{group}._target_={config._target_}: {reason}; is the name right, its package in "
            "PYTHONPATH, and every setting one that it takes?"
        ) from error
