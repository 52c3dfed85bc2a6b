"""MINER in a notebook: fit an array without a command line or a folder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from numpy.typing import ArrayLike, NDArray
from omegaconf import DictConfig

from miner.cli.arguments import quote, without_null
from miner.cli.help import REFUSED_BY_HYDRA, explain
from miner.cli.loader import compose_once
from miner.config.build import CONF_FOLDER, build_settings, check_cuda, check_lists
from miner.images.pixel_format import PixelFormat
from miner.representation import Representation
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal
from miner.support.errors import ConfigError
from miner.support.lightning import import_lightning
from miner.support.process import prepare

if TYPE_CHECKING:
    import torch
    from pytorch_lightning import Callback

_WITHOUT_EFFECT = (
    *("extras", "hparams_search", "hydra", "image", "logger", "metrics", "objective", "paths"),
    *("resume", "tags", "task_name", "trainer"),
)


def fit(
    array: ArrayLike,
    *,
    device: "str | torch.device | None" = None,
    callbacks: "Callback | Sequence[Callback] | None" = None,
    **settings: Any,
) -> Representation:
    """Fit an array and keep the representation in memory.

    Takes `(C, *S)` values in [0, 1] with 2 or 3 spatial axes; an image `(H, W)` may leave out the
    channel. `device` is cpu, cuda or cuda:N, and `callbacks` are Lightning's. Settings have the
    names of `conf/`: a group's option as a string, fields as a mapping or by their whole name.

        miner.fit(image, pyramid="gaussian", fitting={"max_steps": 100}, patch_size=16)
        miner.fit(image, optimizer="radam", **{"optimizer.lr": 0.01})

    Raises:
        ConfigError: a setting or the device is wrong.
        ValueError: the array has another shape, no values, or values outside [0, 1].
    """
    prepare()
    signal = _signal(array)
    n_channels, *sides = signal.shape
    config = compose_settings(settings)
    built = build_settings(config)
    check_lists(built, tuple(sides))
    config.trainer.update(_device(device))
    import_lightning()
    from miner.engine.data import SignalData, Source
    from miner.engine.module import MinerModule
    from miner.engine.records import build_report
    from miner.engine.trainer import fit_on_all_ranks, make_trainer, quiet_lightning

    source = Source(ArraySignal(signal), PixelFormat.of_values("float32", n_channels))
    module = MinerModule()
    with quiet_lightning():
        several: Any = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        given = [callback for callback in several if callback is not None]
        trainer = make_trainer(config.trainer, given)
        fit_on_all_ranks(trainer, module, SignalData(lambda: source, built, Scratch(None)))
        report = build_report(module)
    return Representation(module.data.spec, module.representation.shards, report)


def compose_settings(settings: Mapping[str, Any]) -> DictConfig:
    """The configuration of a run with some settings changed.

    Raises:
        ConfigError: no such group, option or setting.
    """
    overrides = [one for name, value in settings.items() for one in _overrides(name, value)]
    state = Singleton.get_state()  # of Hydra, which the calling program may use too
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
            compose_once()
            return compose("config", overrides=overrides)
    except REFUSED_BY_HYDRA as error:
        raise ConfigError(explain(error)) from error
    finally:
        Singleton.set_state(state)


def _overrides(name: str, value: Any) -> Iterator[str]:
    """A setting, or each of a mapping, as on the command line; NumPy's numbers as Python's."""
    if name.lstrip("+~").partition(".")[0] in _WITHOUT_EFFECT:
        raise ConfigError(f"{name}: has no effect on miner.fit; leave it out")
    if isinstance(value, Mapping):
        for field, inner in value.items():
            yield from _overrides(f"{name}.{field}", inner)
        return
    try:
        text = json.dumps(value, default=lambda array: array.tolist())
    except (TypeError, AttributeError):
        kind = type(value).__name__
        reason = f"is an object of {kind}; give a number, a text, a list or a mapping"
        raise ConfigError(f"{name}: {reason}") from None
    if isinstance(value, str):
        text = value if value.isidentifier() else quote(value)
    yield without_null(f"{name}={text}")


def _device(device: Any) -> dict[str, Any]:
    """The Trainer's arguments that select a device; None is the processor."""
    kind, _, index = str("cpu" if device is None else device).partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise ConfigError(f"device={device}: must be cpu or cuda, or cuda:1 for the second")
    if kind == "cuda":
        check_cuda(f"device={device}", "device='cpu'")
    devices = [int(index)] if index and kind == "cuda" else 1
    return {"accelerator": kind, "devices": devices, "enable_progress_bar": False}


def _signal(array: ArrayLike) -> NDArray[np.float32]:
    values = np.asarray(array)
    if values.ndim == 2:
        values = values[None]
    shape = f"array of shape {values.shape}"
    if values.ndim == 3 and values.shape[-1] <= 4 < values.shape[0]:
        raise ValueError(f"{shape}: channels come first; use array.transpose(2, 0, 1)")
    if values.ndim not in (3, 4) or values.size == 0:
        raise ValueError(f"{shape}: must be (C, H, W) or (C, D, H, W) with at least one value")
    if values.dtype.kind != "f":
        remedy = "divide integers by their full range, as array / 255"
        raise ValueError(f"array of {values.dtype}: must be of floats; {remedy}")
    signal = np.array(values, dtype=np.float32, order="C")
    if not ((signal >= 0) & (signal <= 1)).all():
        raise ValueError(
            f"values from {values.min()} to {values.max()}: must lie in [0, 1]; scale them"
        )
    return signal
