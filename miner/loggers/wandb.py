"""Weights & Biases: a run with its curve, report and pictures, and the run that closes a sweep."""

import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import WandbLogger

from miner.support.errors import ConfigError
from miner.support.files import flatten
from miner.support.run_files import SweepInfo, own_files
from miner.visual.display import RGBImage

_MADE = "made-by-miner"  # marks offline runs that may be replaced
_LOG = logging.getLogger("miner")
_TAG_LIMIT, _NAME_LIMIT = 64, 128  # W&B refuses longer ones
_AXES = ("seconds", "parameters")  # of the curve, beside its steps
_NOT_IN_SUMMARY = ("settings", "curve", "overrides")  # the configuration and the history hold them
Cell = str | float | None

if TYPE_CHECKING:
    import wandb


def start_run(
    folder: Path, offline: bool | None = None, init_timeout_s: float = 5.0, **arguments: Any
) -> "wandb.Run":
    """Start a run and remove earlier ones, of a run's or sweep's folder, that were not uploaded.

    WANDB_DIR counts in place of such a folder, and WANDB_MODE where `offline` is None. Without
    account or network an online run goes on offline.
    """
    import wandb

    mode: Any = {None: os.environ.get("WANDB_MODE"), True: None, False: "online"}[offline]
    own = own_files(folder)
    for run in folder.glob("wandb/offline-run-*") if own and mode != "disabled" else ():
        if (run / _MADE).exists() and not any(run.glob("*.synced")) and not run.parent.is_symlink():
            shutil.rmtree(run)
    arguments["dir"] = (own and os.environ.get("WANDB_DIR")) or str(folder)
    arguments["settings"] = wandb.Settings(silent=True, init_timeout=init_timeout_s)
    # Without credentials wandb.init would ask for them at the terminal.
    is_online = mode in ("online", "shared", "run")
    if is_online and not wandb.login(prompt=False, verify=False):
        _LOG.warning("no W&B account is set up (wandb login): the run stays offline")
    elif is_online:
        try:
            return wandb.init(mode=mode, **arguments)
        except (wandb.errors.Error, TimeoutError, OSError) as error:
            reason = str(error).splitlines()[0]
            _LOG.warning("W&B cannot be reached (%s): the run stays offline", reason)
    started = wandb.init(mode="offline" if is_online or not mode else mode, **arguments)
    if own and mode != "disabled":
        Path(started.dir).with_name(_MADE).touch()
    return started


def shortened(text: str, limit: int) -> str:
    """Cut the middle out of a long text: an override differs at its ends, key and value."""
    if len(text) <= limit:
        return text
    kept = limit - len("...")
    return f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"


class _Starting:
    """Stands for a run: waits for it when anything of it is used."""

    def __init__(self, wait: Callable[[], "wandb.Run"]) -> None:
        self.__dict__["_wait"] = wait

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wait(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._wait(), name, value)


class WandbRun(WandbLogger):
    """A W&B run in the run's folder; in a sweep it has the sweep's group, named by what differs.

    The name of a single run is `label`, unless the environment or a search of W&B names it. A given
    `name` replaces it, and stands in a sweep before what differs.

    A thread imports W&B and starts the run, which takes a second, and logs, so that a fit need not
    wait. What fails there is raised by a later call, at the latest by `finish`.
    """

    def __init__(
        self,
        save_dir: str | Path,
        project: str = "miner",
        entity: str | None = None,
        name: str | None = None,
        offline: bool | None = None,
        group: str | None = None,
        job_type: str = "fit",
        tags: Sequence[str] = (),
        notes: str | None = None,
        log_representation: bool = False,
        init_timeout_s: float = 5.0,
        sweep: SweepInfo | None = None,
        label: str = "",
    ) -> None:
        (save_dir := Path(save_dir)).mkdir(parents=True, exist_ok=True)
        differing = list(sweep.differing) if sweep else []
        if sweep is None and "WANDB_SWEEP_ID" not in os.environ:
            name = name or label
        tags = tags or [*filter(None, os.environ.get("WANDB_TAGS", "").split(","))]
        title = " ".join([*filter(None, [name]), *differing])
        arguments = {
            "job_type": job_type,
            "group": group or (sweep.name if sweep else None),
            "entity": entity,
            "name": shortened(title, _NAME_LIMIT) or None,
            "notes": notes or " ".join(differing) or None,
            "tags": list(dict.fromkeys(shortened(tag, _TAG_LIMIT) for tag in [*tags, *differing])),
        }
        super().__init__(save_dir=str(save_dir), offline=offline is not False, project=project)
        self._representation = save_dir / "representation" if log_representation else None
        self._thread = ThreadPoolExecutor(1, "wandb")
        self._run = self._last = self._thread.submit(
            _start_with_axes, save_dir, offline, init_timeout_s, project=project, **arguments
        )
        self._experiment: Any = _Starting(lambda: self._last.result())

    @property
    def experiment(self) -> Any:
        """The run; before it has started, which Lightning does not await, what stands for it."""
        return self._last.result() if self._run.done() else self._experiment

    def _log(self, call: Callable[["wandb.Run"], object]) -> None:
        """Let the thread do something with the run after all that it was given before."""
        last = self._last
        if last.done():
            last.result()

        def called() -> "wandb.Run":
            call(run := last.result())
            return run

        self._last = self._thread.submit(called)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # type: ignore[override]
        """Log the configuration; where a W&B agent chose `pyramid`, it is `pyramid_settings`."""

        def update(run: Any) -> None:  # whose configuration has no types
            fixed = [name for name in params if name in run.config]
            groups = [name for name in fixed if isinstance(params[name], Mapping)]
            free = {name: value for name, value in params.items() if name not in fixed}
            free |= {f"{name}_settings": params[name] for name in groups}
            run.config.update(free, allow_val_change=True)

        self._log(update)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log over the axes that are metrics too; W&B's counter is only their order."""
        logged = dict(metrics)
        if "fit/psnr_db" in metrics:
            logged |= {f"fit/psnr_db_by_{axis}": metrics["fit/psnr_db"] for axis in _AXES}
        self._log(lambda run: run.log(logged))

    def log_results(self, report: Mapping[str, Any], pictures: Mapping[str, RGBImage]) -> None:
        """Log the pictures and, if configured, the representation; the summary gets the report."""
        import wandb

        run = self._last.result()
        images = {name: wandb.Image(array) for name, array in pictures.items()}
        # W&B's search reads its metric from the history.
        run.log(images | {n: report[n] for n in ("objective",) if n in report})
        kept = {name: value for name, value in report.items() if name not in _NOT_IN_SUMMARY}
        kept["levels"] = {str(level["level"]): level for level in report.get("levels", ())}
        leaves = flatten(kept, "/")
        run.summary.update({k: v for k, v in leaves if isinstance(v, int | float | str | None)})
        if self._representation is not None and self._representation.exists():
            artifact = wandb.Artifact(f"representation-{run.id}", type="representation")
            folder = str(self._representation.resolve())
            artifact.add_dir(folder, policy="immutable", skip_cache=True)  # no copy of the files
            run.log_artifact(artifact)

    def finalize(self, status: str) -> None:
        """Nothing: results follow the fit; `finish` closes the run."""

    def finish(self, succeeded: bool) -> None:
        """Close the run, as a failed one too if the thread has failed, which is then raised."""
        failed = self._last.exception()
        status = 0 if succeeded and failed is None else 1
        closed = self._thread.submit(lambda: self._run.result().finish(exit_code=status))
        self._thread.shutdown()
        if succeeded and (failed := failed or closed.exception()):
            raise failed


def _start_with_axes(*arguments: Any, **more: Any) -> "wandb.Run":
    """Start a run with the axes of its curves; `ConfigError` where W&B refuses a setting."""
    try:
        run = start_run(*arguments, **more)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"logger.wandb: {reason}; is every setting one that it takes?") from error
    for axis in ("fit/step", *(f"fit/{axis}" for axis in _AXES), "level/level"):
        run.define_metric(axis, hidden=axis != "fit/step")
    run.define_metric("fit/psnr_db", step_metric="fit/step", summary="last")
    for axis in _AXES:
        run.define_metric(f"fit/psnr_db_by_{axis}", step_metric=f"fit/{axis}", summary="last")
    run.define_metric("level/*", step_metric="level/level")
    return run


def log_comparison(
    folder: Path,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    counts: Mapping[str, int],
    **arguments: Any,
) -> None:
    """Log a sweep's table, page and counts in a run of type `summary`; see `start_run`."""
    import wandb

    run = start_run(folder, name="comparison", job_type="summary", **arguments)
    page = folder / "comparison.html"
    # W&B's tables demand columns of one type
    data = [[float(cell) if isinstance(cell, int) else cell for cell in row] for row in rows]
    try:
        run.log({"comparison": wandb.Table(columns=list(columns), data=data)})
        run.log({"comparison_page": wandb.Html(str(page), inject=False)})
        run.summary.update(dict(counts))
    finally:
        run.finish()
