"""Checks of a run before it writes anything: its settings, image, folder, disk and processes."""

import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOSPC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, OmegaConf

from miner.cli.help import REFUSED_BY_HYDRA, explain
from miner.config import build
from miner.config.fingerprint import differences, fit_identity, job_hash
from miner.config.job import RankInfo, detect_rank, rank_of
from miner.config.schema import RunConfig, check_config
from miner.engine.disk_space import scratch_for
from miner.engine.method import build_method, configured
from miner.images.source import SAMPLE_PREFIX, file_digest, find_file, inspect_image
from miner.support.errors import ConfigError, ImageError, RepresentationError
from miner.support.process import end_imports
from miner.support.run_files import LOGS, REPORT, check_own, read_report

_CONFIGURING = ("hydra", "hydra_plugins", "omegaconf", "yaml", "codecs", "optuna")
_NODE_VARIABLES = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
_LEAST_BYTES = 2**20  # for the first small files of a run


def check_run(config: DictConfig) -> None:
    """Refuse a single run, with Hydra's settings, by a `ConfigError` or an `ImageError`."""
    folder = Path(config.hydra.run.dir)
    settings = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]).copy()
    settings.paths.output_dir = str(folder.absolute())  # as in the run
    settings = configured(settings)
    checked, rank = check_config(settings), rank_of(settings)
    is_named = any(o.startswith("hydra.run.dir=") for o in config.hydra.overrides.hydra)
    check_processes(checked, detect_rank(), is_named)
    check_writable("hydra.run.dir", folder)
    check_settings(settings)
    if checked.fitting.scratch_dir is not None:
        check_writable("fitting.scratch_dir", Path(checked.fitting.scratch_dir).expanduser())
    scratch_for(checked, folder, rank)
    if rank.is_first:
        check_own(folder, [*build.files_of(settings), *LOGS], build.sources_of(settings))
    is_used = any((folder / name).exists() for name in ("representation", REPORT))
    if not checked.callbacks.get("checkpoint") and is_used:
        reason = "holds what another run has made; name another folder"
        raise ConfigError(f"callbacks.checkpoint=null: {folder} {reason}")
    check_unchanged(folder, settings, build.device_type(checked.trainer.accelerator))


def check_settings(config: DictConfig) -> None:
    """Refuse a setting, image, device or object by a `ConfigError` or an `ImageError`.

    The settings are those that `configured` gives.
    """
    checked = check_config(config)
    image, trainer = checked.image, checked.trainer
    info = inspect_image(image.path, image.max_pixels, image.crop_px, image.axes, image.mask)
    build.build_objective(config)
    if trainer.accelerator in ("cuda", "gpu"):
        setting = f"trainer.accelerator={trainer.accelerator}"
        build.check_cuda(setting, "trainer=cpu or trainer=auto")
    for name, number in (("devices", trainer.devices), ("num_nodes", trainer.num_nodes)):
        if trainer.strategy == "auto" and number > 1:
            reason = "a process uses one device; for several add trainer=ddp"
            raise ConfigError(f"trainer.{name}={number}: {reason}")
    build_method(config).check(config, info)  # imports torch
    build.check_classes(config)
    build.build_metrics(config)
    end_imports()


def check_processes(checked: RunConfig, rank: RankInfo, is_folder_named: bool) -> None:
    """Refuse, by a `ConfigError`, processes that would not be one run in one folder."""
    trainer = checked.trainer
    world_size = trainer.devices * trainer.num_nodes
    if not trainer.is_ddp and rank.launcher != "torchrun":
        return  # Slurm's tasks may be runs of their own
    is_other = rank.world_size != world_size or rank.local_rank >= trainer.devices
    if rank.launcher is not None and is_other:
        raise ConfigError(
            f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: "
            f"{rank.launcher} has started {rank.world_size} processes, this one as number "
            f"{rank.local_rank} of its machine; add trainer=ddp with the processes of each machine "
            "as trainer.devices, and the number of machines"
        )
    unset = ", ".join(name for name in _NODE_VARIABLES if name not in os.environ)
    if rank.launcher is None and trainer.num_nodes > 1 and unset:
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes}: {unset} not set on this machine; start the "
            f"run with srun or torchrun, or on each machine with {', '.join(_NODE_VARIABLES)}"
        )
    if not is_folder_named and (rank.world_size > 1 or trainer.num_nodes > 1):
        reason = f"each of {world_size} processes would make another folder"
        remedy = "name one on a disk that all machines share, as hydra.run.dir=/shared/run"
        raise ConfigError(f"hydra.run.dir: {reason}; {remedy}")


def check_unchanged(folder: Path, config: DictConfig, device: str) -> None:
    """Refuse, by a `ConfigError`, a run with other settings or a damaged manifest."""
    from miner.representation import REPRESENTATION_FOLDER
    from miner.representation.spec import MANIFEST, Manifest

    stored = folder / REPRESENTATION_FOLDER
    report: dict[str, Any] = {}
    with suppress(ValueError):  # a damaged report is written again
        report = read_report(folder) or {}
    if report.get("file") and report.get("hash") != job_hash(config):
        reason = f"holds a run with other settings: {report.get('command')}; name another folder"
        raise ConfigError(f"{folder}: {reason}")
    try:
        if not (stored / MANIFEST).exists():
            return
        fit = Manifest.read(stored).fit
    except OSError as error:
        raise ConfigError(f"{stored}: cannot be read ({error.strerror}); name another") from None
    except RepresentationError as error:
        is_outdated = "fit again" in str(error)
        remedy = "" if is_outdated else "; delete this file: its folder's shards are reused"
        raise ConfigError(f"{error}{remedy}") from None
    if "image" not in fit:
        raise ConfigError(f"{stored}: miner.fit has saved this, no run; name another folder")
    path = config.image.path
    sha256 = "" if path.startswith(SAMPLE_PREFIX) else file_digest(find_file(path))
    if changed := differences(fit, fit_identity(config, sha256, device)):
        raise ConfigError(
            f"{folder}: holds a run with other settings; name another folder, "
            f"or take them back:\n  " + "\n  ".join(changed)
        )


def check_writable(setting: str, folder: Path) -> None:
    """Refuse, by a `ConfigError`, a folder that cannot be written; it need not exist yet."""
    folders = (folder.absolute(), *folder.absolute().parents)
    existing = next(filter(Path.exists, folders))
    try:
        with TemporaryDirectory(dir=existing):  # permission bits say little to root
            pass
        if shutil.disk_usage(existing).free < _LEAST_BYTES:
            raise OSError(ENOSPC, "no space left")
    except OSError as error:
        reason = f"{existing} cannot be written ({error.strerror})"
        raise ConfigError(f"{setting}={folder}: {reason}; name another folder") from error


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Exit with status 1: with one line for a refusal, with a traceback for any other error.

    Hydra turns a callback's exceptions into warnings, but lets `SystemExit` through.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except (ConfigError, ImageError, *REFUSED_BY_HYDRA) as error:
        text = explain(error) if isinstance(error, REFUSED_BY_HYDRA) else str(error)
        for line in text.splitlines():
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(1) from None
    except Exception as error:  # of a library that refuses the configuration, else a bug
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if frame.f_globals["__name__"].partition(".")[0] in _CONFIGURING:
            reason = " ".join(str(error).split())
            print(f"error: the configuration: {type(error).__name__}: {reason}", file=sys.stderr)
        else:
            traceback.print_exc()
        raise SystemExit(1) from None
