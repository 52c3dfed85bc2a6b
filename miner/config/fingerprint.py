"""What makes two jobs, or two fits, the same: their settings and their image."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.config.schema import FIT_GROUPS
from miner.images.source import SAMPLE_PREFIX, file_digest, image_digest
from miner.support.errors import ImageError
from miner.support.files import expand_home, flatten, json_sha256

_DECISIVE = ("image", *FIT_GROUPS)  # nothing but these, patch_size, seed and method decides
_UNMASKED = [("nodata", "auto"), ("mask", None)]  # left out, as of runs before there were masks


def job_hash(config: DictConfig) -> str:
    """Eight hexadecimal digits of the settings that change the result, and the image's content."""
    settings = _settings(config)
    path = settings["image"]["path"]
    if not path.startswith(SAMPLE_PREFIX):
        file = Path(expand_home(path))
        with suppress(OSError):  # it was removed after it was checked; its job reports that
            settings["image"]["path"] = f"{file.stem} {file_digest(file)}"  # in any folder
    return json_sha256(settings)[:8]


def fit_identity(config: DictConfig, image_sha256: str, device: str) -> dict[str, Any]:
    """What a fit's result depends on, in plain data: settings, image and kind of device."""
    settings = _settings(config)
    settings.pop("method", None)  # of blocks, whose settings it has changed already
    del settings["fitting"]["max_memory_gib"]
    path = settings["image"].pop("path")
    del settings["image"]["max_pixels"]
    if path.startswith(SAMPLE_PREFIX):
        image = {"path": path, "sha256": path}
    else:
        image = {"path": str(Path(expand_home(path)).absolute()), "sha256": image_sha256}
    return {"settings": settings, "image": image, "device": device}


def fit_digest(fit: Mapping[str, Any]) -> str:
    """A digest of what `fit_identity` returns; the folder of the image does not count."""
    return json_sha256([fit["settings"], fit["image"]["sha256"], fit["device"]])


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two fits, one line each, as `pyramid.n_levels: 4, now 3`."""
    old, new = (dict(flatten(fit["settings"])) | {"device": fit["device"]} for fit in (before, now))
    names = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k)]
    lines = [f"{k}: {old.get(k, 'not set')}, now {new.get(k, 'not set')}" for k in names]
    if before["image"]["sha256"] != now["image"]["sha256"]:
        lines.append(f"the content of the image {now['image']['path']} is another")
    return lines


def job_folder(sweep_folder: str, number: int, *, _root_: DictConfig) -> str:
    """The name of a job's folder: that of an earlier start, or `<number>-<hash>`.

    Resolver of `hydra.sweep.subdir`; OmegaConf passes it the job's configuration as `_root_`.
    """
    digest = job_hash(_root_)
    earlier = sorted(Path(sweep_folder).glob(f"*-{digest}"))
    return earlier[0].name if earlier else f"{number}-{digest}"


def _settings(config: DictConfig) -> dict[str, Any]:
    settings: dict[str, Any] = {
        name: OmegaConf.to_container(config[name], resolve=True) for name in _DECISIVE
    }
    settings |= {name: config[name] for name in ("patch_size", "seed")}
    method: Any = OmegaConf.to_container(config.method, resolve=True)
    if any(value is not None for name, value in method.items() if name != "_target_"):
        settings["method"] = method  # else it is the pyramid of blocks, by the other groups alone
    settings["image"] = dict(one for one in settings["image"].items() if one not in _UNMASKED)
    if mask := settings["image"].get("mask"):
        with suppress(OSError, ImageError):  # it was removed after it was checked
            settings["image"]["mask"] = image_digest(mask)
    for name in ("in_memory_mib", "scratch_dir"):
        settings["fitting"].pop(name, None)
    n_chunks = int(OmegaConf.select(config, "trainer.fast_dev_run") or 0)
    return settings | ({"trainer": {"fast_dev_run": n_chunks}} if n_chunks else {})


# On import, since a launcher's worker imports this module only because its task needs it.
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
