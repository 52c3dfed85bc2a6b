"""Arguments as people type them, before Hydra's grammar reads them; those of a resumed run."""

import glob
import logging
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from mimetypes import guess_type
from pathlib import Path

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from miner.cli.help import default_options, option_files
from miner.images.arrays import is_zarr
from miner.images.source import SAMPLE_PREFIX, inspect_image
from miner.images.vips import NO_IMAGE
from miner.support.errors import ConfigError, ImageError
from miner.support.files import expand_home
from miner.support.process import say
from miner.support.run_files import PLAN, is_of_run

SWEEP_FLAGS = ("-m", "--multirun", "hydra.mode=MULTIRUN")
_FLAGS_WITH_VALUE = (
    *("-c", "--cfg", "-p", "--package", "-i", "--info", "--experimental-rerun"),
    *("-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"),
)
_IMAGE, _FOLDER, _RESUME = "image.path=", "hydra.run.dir=", "resume="
_ADDED_CLASS = re.compile(r"[+~]*((callbacks|logger|metrics)\.[^=]*?)(\._target_\b|=.*_target_)")
_NOT_RESUMED = ("trainer.max_time.", "trainer.callbacks.")
_SOURCES = ("--config-dir", "-cd", "hydra.searchpath=")
_ANY_SIZE = 2**63  # the checks refuse images that are too large
_NO_NAME = re.compile(r"true|false|-?[\d.]+", re.IGNORECASE)
_LOG = logging.getLogger(__name__)


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether arguments start a sweep."""
    return any(argument in SWEEP_FLAGS for argument in arguments)


def expand_arguments(arguments: Sequence[str]) -> list[str]:
    """Hydra's flags, settings, and files that exist as images: `image.path=photo.jpg`.

    Raises `ConfigError` for several images in one run.
    """
    flags: list[str] = []
    settings: list[str] = []
    for before, one in zip(("", *arguments), arguments, strict=False):
        if not _is_utf8(one):
            raise ConfigError(f"{one!r}: is not UTF-8; rename the file")
        is_flag = one.startswith("-") or before in _FLAGS_WITH_VALUE
        (flags if is_flag else settings).append(one)
    paths = [one for one in settings if _exists(one) and ("=" not in one or Path(one).is_file())]
    if len(paths) > 1 and not is_sweep(arguments):
        raise ConfigError(f"{' '.join(paths)}: a run fits one image; add -m for a sweep over all")
    if is_sweep(arguments) and {"-c", "--cfg"} & {flag.partition("=")[0] for flag in flags}:
        raise ConfigError("--cfg: shows the configuration of one run; leave out -m")
    check_one_bound([one.partition("=")[0].lstrip("+") for one in settings])
    image = _IMAGE + (paths[0] if len(paths) == 1 else ",".join(map(quote, paths)))
    others = [without_null(one) for one in settings if one not in paths]
    return [*flags, *others, *([image] if paths else [])]


def check_one_bound(names: Iterable[str]) -> None:
    """Refuse, by a `ConfigError`, both names of the bound among what a user has set."""
    if {"fitting.max_mse", "fitting.target_psnr"} <= set(names):
        rule = "of fitting.max_mse and fitting.target_psnr only one"
        raise ConfigError(f"{rule} can be set: 10 * log10(1 / max_mse) is the PSNR")


def without_null(argument: str) -> str:
    """Write null as `none` in groups with such an option, and in those without a default as `[]`.

    Hydra takes neither null for a group nor, in a sweep, an empty list for one that code expects.
    What is no option's name is quoted: Hydra says of a text alone what would be one.
    """
    name, _, value = argument.partition("=")
    defaults = default_options()
    if name not in defaults:
        return argument
    if items := re.fullmatch(r"\[([^\[\]]+)\]", value):  # a list, which may hold null
        kept = [one for one in items[1].split(",") if one.strip().lower() != "null"]
        value = f"[{','.join(kept)}]"
    nothing = "none" if "none" in option_files(name) else "'null'" if defaults[name] else "[]"
    values = (nothing if one.lower() in ("null", "[]") else one for one in value.split(","))
    quoted = (f"'{one}'" if _NO_NAME.fullmatch(one) else one for one in values)
    return f"{name}={','.join(quoted)}"


def as_launched(arguments: Sequence[str]) -> list[str]:
    """Arguments as Hydra reads them, of a process that Lightning starts with three more of them.

    These are `hydra.run.dir="..."`, unescaped, the process's name and `hydra.output_subdir=null`.
    """
    if len(arguments) < 3 or not arguments[-2].startswith("hydra.job.name=train_ddp_process_"):
        return list(arguments)
    *given, folder, name, subdir = arguments
    folder = quote(folder.removeprefix(f'{_FOLDER}"').removesuffix('"'))
    given = [argument for argument in given if not argument.startswith(_FOLDER)]
    return [*given, f"{_FOLDER}{folder}", name, subdir]


def write_images(arguments: Sequence[str]) -> list[str]:
    """Write `image.path=` and `image.mask=` so that Hydra reads whatever names of files hold.

    Its grammar refuses `IMG (1).jpg`, `~/a.jpg` or `é.jpg` as they are. In a sweep, a folder or a
    pattern stands for all images found there, without subfolders. Others are left out with a
    warning that names them, runs' own with a count, hidden files silently; a sweep ends with the
    images among them, by content or suffix. Without one to be read this raises an `ImageError`.
    """
    axes = dict(one.split("=", 1) for one in arguments if "=" in one).get("image.axes")
    written = list[str]()
    for one in arguments:
        if one.startswith(_IMAGE) and is_sweep(arguments):
            written += _all_images(one, axes)
        else:
            written.append(_one_file(one) if one.startswith((_IMAGE, "image.mask=")) else one)
    return written


def _one_file(argument: str) -> str:
    setting, _, path = argument.partition("=")
    path = expand_home(path)
    if not _exists(path):
        with suppress(HydraException):  # what it can read, such as several files, stays as it is
            OverridesParser.create().parse_override(argument)
            return argument
    return f"{setting}={quote(path)}"


def _all_images(argument: str, axes: str | None) -> list[str]:
    path = expand_home(argument.removeprefix(_IMAGE))
    if not _exists(path):
        found = [Path(name) for name in glob.glob(path)]  # noqa: PTH207, absolute too
    elif Path(path).is_dir() and not is_zarr(Path(path)):
        found = [Path(path), *Path(path).iterdir()]
    else:
        found = []
    if not found:
        return [_one_file(argument)]
    there = [file for file in found if file.is_file() or is_zarr(file)]
    files = [file for file in there if not is_of_run(file)]
    if n_made := len(there) - len(files):
        _LOG.warning("left out: %d of the files in %r, which runs have made", n_made, path)
    images, unreadable = list[str](), list[str]()
    for file in sorted(file for file in files if not file.name.startswith(".")):
        try:
            inspect_image(str(file), _ANY_SIZE, None, axes)
            if not _is_utf8(str(file)):
                raise ImageError(f"{str(file)!r} has a name that is not UTF-8; rename it")
            images.append(quote(str(file)))
        except ImageError as error:
            _LOG.warning("left out: %s", error)
            if NO_IMAGE not in str(error) or str(guess_type(file.name)[0]).startswith("image/"):
                shown = os.fsencode(file).decode(errors="replace").replace("${", "$ {")
                unreadable.append(quote(shown))
    if not images:
        raise ImageError(f"{path!r} holds no image: name a folder or a pattern with images")
    left_out = [f"++hydra.callbacks.miner.left_out=[{','.join(unreadable)}]"] if unreadable else []
    return [_IMAGE + ",".join(images), *left_out]


def quote(path: str) -> str:
    """Quote a path for Hydra, whatever characters it has."""
    # OmegaConf: "${" begins an interpolation unless an odd number of backslashes stands before it.
    escaped = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", path)
    # Hydra: backslashes count only before a quote, of which the closing one is the last.
    quoted = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), escaped)
    return f"'{quoted}'"


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Replace `resume=FOLDER` by the settings of the run there that other arguments do not replace.

    `trainer=cpu` also replaces `trainer.devices=4`. Raises `ConfigError` if no run or a sweep was
    begun there, if the folder is named twice, if its `--config-dir` is not given again, and for a
    setting of Hydra or one that names a class of a component.
    """
    resumes = [argument for argument in arguments if argument.startswith(_RESUME)]
    if not resumes or is_sweep(arguments):
        return list(arguments)
    given = [argument for argument in arguments if argument not in resumes]
    if len(resumes) > 1 or any(argument.startswith(_FOLDER) for argument in given):
        raise ConfigError(f"{resumes[-1]}: names the run's folder; leave out the other folder")
    folder = Path(resumes[0].removeprefix(_RESUME)).expanduser()
    replaced = {_key(argument) for argument in given}
    stored = _stored_settings(folder, given)
    kept = [one for one in stored if replaced.isdisjoint([_key(one), _key(one).partition(".")[0]])]
    index = arguments.index(resumes[0])  # behind Hydra's flags
    run_dir = _FOLDER + quote(str(folder))
    return [*arguments[:index], *kept, run_dir, *arguments[index + 1 :]]


def _stored_settings(folder: Path, given: Sequence[str]) -> list[str]:
    """The overrides of the run in a folder; none may name a class, which would be called.

    Added callbacks, metrics and loggers are left out, as is what has stopped the run.
    """
    run = f"{_RESUME}{folder}"
    if (folder / PLAN).exists():
        raise ConfigError(f"{run}: is a sweep; start it again with hydra.sweep.dir={folder}")
    try:
        stored = yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())["hydra"]
        settings = [str(override) for override in stored["overrides"]["task"]]
        started_in, sources = stored["runtime"]["cwd"], stored["runtime"]["config_sources"]
        added_sources = [one["path"] for one in sources if "command-line" in one["provider"]]
        image = OmegaConf.load(folder / ".hydra" / "config.yaml").image
        files = {f"image.{k}": str(image[k]) for k in ("path", "mask") if image.get(k)}
    except Exception:  # whatever is wrong with these files
        remedy = "name the folder of a run, as outputs/2026-01-31/10-00-00-000000"
        raise ConfigError(f"{run}: no run was begun there; {remedy}") from None
    if added_sources and not any(one.startswith(_SOURCES) for one in given):
        flag = f"--config-dir={added_sources[0]}"
        raise ConfigError(f"{run}: was started with {flag}; give that again, before {run}")
    for name, path in files.items():
        if not path.startswith(SAMPLE_PREFIX):  # a file, which may be named from another folder now
            settings = [setting for setting in settings if _key(setting) != name]
            settings.append(f"{name}={quote(str(Path(started_in, path)))}")
    classes = [f"{found[1]}." for found in map(_ADDED_CLASS.match, settings) if found]
    left_out = (*_NOT_RESUMED, *classes)
    kept = [one for one in settings if not f"{_key(one)}.".startswith(left_out)]
    without = [one for one in settings if one not in kept and _key(one) not in map(_key, given)]
    if without:
        say(f"without {', '.join(without)}; to have it, give it again")
    for setting in kept:
        if "_target_" in setting or _key(setting).startswith("hydra"):
            remedy = f"start it as it was started, with hydra.run.dir={folder}"
            raise ConfigError(f"{run}: its setting {setting!r} is not read from a file; {remedy}")
    return kept


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _is_utf8(argument: str) -> bool:
    """Whether an argument is UTF-8; Python keeps other bytes as lone surrogates."""
    return argument.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in argument)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or no path at all: the checks refuse it
        return False
