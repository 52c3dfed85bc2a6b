"""MINER in a notebook: fit an image or an array without a command line or a folder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from hydra import compose
from omegaconf import DictConfig, open_dict
from rich import get_console

from miner.cli.arguments import check_one_bound, quote, without_null
from miner.cli.help import REFUSED_BY_HYDRA, explain
from miner.cli.sweep import compose_once
from miner.config.build import build_settings, check_cuda, check_lists
from miner.config.compose import own_hydra
from miner.config.schema import ImageSettings, RunConfig, check_config, no_such_setting
from miner.images.arrays import open_values
from miner.images.source import open_image
from miner.images.source_image import SourceImage
from miner.representation import Representation
from miner.signals.scratch import Scratch
from miner.support.components import describe
from miner.support.errors import ConfigError
from miner.support.lightning import import_lightning
from miner.support.process import prepare, say

if TYPE_CHECKING:
    import torch
    from pytorch_lightning import Callback

_WITHOUT_EFFECT = (
    *("extras", "hparams_search", "hydra", "logger", "method", "metrics", "objective", "paths"),
    *("resume", "tags", "task_name", "trainer"),
)
_SHORT = {"axes": "image.axes", "preset": "experiment", "target_psnr": "fitting.target_psnr"}
_PATH = (str, PathLike)
_KEYWORDS = (*_SHORT, "mask", "callbacks", "device", "progress")


def fit(
    image: Any,
    /,
    *,
    axes: str | None = None,
    mask: Any = None,
    preset: str | None = None,
    target_psnr: float | None = None,
    device: "str | torch.device | None" = None,
    callbacks: "Callback | Sequence[Callback] | None" = None,
    progress: bool = True,
    **settings: Any,
) -> Representation:
    """Fit an image and keep the representation in memory.

    `image` is the path of a file, `sample:NAME`, an image of PIL, a tensor or an array of any real
    type; `axes` has a letter for each axis, as `HWC` or `CDHW`, where they can be read in several
    ways. `mask` is an array with a number for each pixel, or an image file's name: 0 where there is
    no data, as there is none where values are NaN or a masked array masks them. `preset` is an
    option of `experiment`, `target_psnr` the PSNR in dB that each block is fitted to, `device` cpu,
    cuda or cuda:N, and `callbacks` are Lightning's. `progress` shows a bar in a terminal or a
    notebook. Settings have the names of `conf/`: a group's option as a text or an object, fields as
    a mapping or by their whole name.

        miner.fit("photo.jpg", preset="fast", target_psnr=40)
        miner.fit(array, activation=Sine(0.3), fitting={"max_steps": 100}, patch_size=16)
        miner.fit(array, axes="HWC", optimizer="radam", **{"optimizer.lr": 0.01})

    Raises:
        ConfigError: a setting or the device is wrong.
        ImageError: the image cannot be read, can be read in several ways, or is not finite.
    """
    prepare()
    named = {"axes": axes, "preset": preset, "target_psnr": target_psnr}
    short = {_SHORT[name]: value for name, value in named.items() if value is not None}
    config = compose_settings(settings, short)
    built, of_image = build_settings(config), check_config(config).image
    config.trainer.update(_device(device) | {"enable_progress_bar": progress})
    source = _open(image, of_image, mask, built.max_mse)
    check_lists(built, source.sides)
    is_said = progress and (get_console().is_terminal or get_console().is_jupyter)
    if is_said:
        say(f"{source.name}: {source.format.describe(source.sides, source.mask)}")
    import_lightning()
    from pytorch_lightning.callbacks import ProgressBar

    from miner.callbacks.progress import FitProgress
    from miner.engine.data import SignalData
    from miner.engine.module import MinerModule
    from miner.engine.records import build_report, remarks
    from miner.engine.trainer import fit_on_all_ranks, make_trainer, quiet_lightning

    module = MinerModule()
    several: Any = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
    given = [callback for callback in several if callback is not None]
    with quiet_lightning():
        if not any(isinstance(callback, ProgressBar) for callback in given):
            given.insert(0, FitProgress())
        trainer = make_trainer(config.trainer, given)
        data = SignalData(lambda: source, built, Scratch(None))
        fit_on_all_ranks(trainer, module, data)
        report = build_report(module)
    for remark in remarks(module) if is_said and module.is_complete else ():
        say(remark)
    read = of_image.model_dump(exclude={"path", "max_pixels", "mask"})
    shards, settings = module.representation.shards, {"settings": {"image": read}}
    return Representation(module.data.spec, shards, report, settings)


def _open(image: Any, settings: ImageSettings, mask: Any, max_mse: float) -> SourceImage:
    opened = fspath(image) if isinstance(image, _PATH) else open_values(image, settings.axes)
    given = settings.max_pixels, settings.crop_px, Scratch(None), settings.axes, settings.range
    mask = fspath(mask) if isinstance(mask, _PATH) else settings.mask if mask is None else mask
    return open_image(opened, *given, nodata=settings.nodata, mask=mask, max_mse=max_mse)


def compose_settings(*several: Mapping[str, Any]) -> DictConfig:
    """The configuration of a run with some settings changed; components may be objects.

    Raises `ConfigError` for no such group, option or setting, or one that is set twice.
    """
    settings = [item for one in several for item in one.items()]
    given = dict(settings)
    objects: dict[str, Any] = {}
    overrides: list[str] = []
    for name, value in settings:
        if described := _described(value):
            _check_group(name)
            objects[name] = described
        else:
            overrides += _overrides(name, value)
    names = [override.partition("=")[0] for override in overrides]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"{twice[0]}: is set twice (as one of {', '.join(_SHORT)}?); set it once")
    check_one_bound(names)
    parts = {key: objects.get("model", {}).get(key) for key in ("encoding", "activation")}
    objects = {key: part for key, part in parts.items() if part and key not in given} | objects
    try:
        with own_hydra():
            compose_once()
            config = compose("config", overrides=overrides)
    except REFUSED_BY_HYDRA as error:
        raise ConfigError(explain(error)) from error
    with open_dict(config):
        config.update(objects)
    return config


def _check_group(setting: str) -> None:
    name = setting.partition("=")[0]
    group = name.lstrip("+~").partition(".")[0]
    if group in _WITHOUT_EFFECT or name in ("image", "image.path"):
        raise ConfigError(f"{name}: has no effect on miner.fit; leave it out")
    if group not in (*RunConfig.model_fields, "experiment", "debug", "local"):
        raise ConfigError(f"{setting}: {no_such_setting(setting, _KEYWORDS)}")


def _described(value: Any) -> dict[str, Any] | None:
    """A component, or an optimiser as `partial(torch.optim.Adam, lr=0.01)`, as its settings."""
    if is_dataclass(value) and not isinstance(value, type):
        return describe(value)
    if isinstance(value, partial) and not value.args:
        target = f"{value.func.__module__}.{value.func.__qualname__}"
        return {"_target_": target, "_partial_": True, **value.keywords}
    return None


def _overrides(name: str, value: Any) -> Iterator[str]:
    """A setting, or each of a mapping, as on the command line; NumPy's numbers as Python's."""
    if isinstance(value, Mapping):
        for field, inner in value.items():
            yield from _overrides(f"{name}.{field}", inner)
        return
    try:
        text = json.dumps(value, default=lambda array: array.tolist())
    except (TypeError, AttributeError):
        _check_group(name)
        kind = type(value).__name__
        reason = f"is an object of {kind}; give a number, a text, a list, a mapping or a component"
        raise ConfigError(f"{name}: {reason}") from None
    if isinstance(value, str):
        text = value if value.isidentifier() else quote(value)
    _check_group(f"{name}={text}")
    yield without_null(f"{name}={text}")


def _device(device: Any) -> dict[str, Any]:
    kind, _, index = str("cpu" if device is None else device).partition(":")
    if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
        raise ConfigError(f"device={device}: must be cpu or cuda, or cuda:1 for the second")
    if kind == "cuda":
        check_cuda(f"device={device}", "device='cpu'")
    return {"accelerator": kind, "devices": [int(index)] if index and kind == "cuda" else 1}
