"""Weights & Biases: a run with its curve, report and pictures."""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger

from miner.loggers.base import RGBImage
from miner.support.run_files import SweepInfo

_LOG = logging.getLogger("miner")


_INIT_TIMEOUT_S = 5.0


_TAG_LIMIT = 64  # W&B refuses longer ones


_NAME_LIMIT = 128


@dataclass(frozen=True)
class RunPlace:
    """Where a run is kept and what it is filed under, named as `wandb.init` does."""

    dir: str
    project: str
    job_type: str
    group: str | None = None
    name: str | None = None
    notes: str | None = None
    tags: Sequence[str] = ()

    def arguments(self) -> dict[str, Any]:
        """Arguments of `wandb.init`, texts no longer than W&B takes."""
        tags = dict.fromkeys(shortened(tag, _TAG_LIMIT) for tag in self.tags)
        name = None if self.name is None else shortened(self.name, _NAME_LIMIT)
        return asdict(self) | {"tags": list(tags), "name": name}


def start_run(place: RunPlace, offline: bool) -> "wandb.Run":
    """Start a run; without account or network an online one goes on offline.

    It replaces what an earlier start logged into the same folder, unless that was uploaded.
    """
    for run in Path(place.dir).glob("wandb/offline-run-*"):
        if not any(run.glob("*.synced")):
            shutil.rmtree(run)
    return _start_offline(place) if offline else _start_online(place)


def shortened(text: str, limit: int) -> str:
    """Cut the middle out of a long text: an override differs at its ends, key and value."""
    if len(text) <= limit:
        return text
    kept = limit - len("...")
    return f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"


def _start_offline(place: RunPlace) -> "wandb.Run":
    settings = wandb.Settings(silent=True)
    return wandb.init(mode="offline", settings=settings, **place.arguments())


def _start_online(place: RunPlace) -> "wandb.Run":
    # Without credentials wandb.init would ask for them at the terminal.
    if not wandb.login(prompt=False, verify=False):
        _LOG.warning("logger.wandb.offline=false: no W&B account is set up (wandb login); offline")
        return _start_offline(place)
    try:
        settings = wandb.Settings(init_timeout=_INIT_TIMEOUT_S, silent=True)
        return wandb.init(mode="online", settings=settings, **place.arguments())
    except (wandb.errors.Error, TimeoutError, OSError) as error:
        reason = str(error).splitlines()[0]
        _LOG.warning("logger.wandb.offline=false: W&B cannot be reached (%s); offline", reason)
        return _start_offline(place)


_NOT_IN_SUMMARY = ("settings", "curve", "overrides")  # the configuration and the history hold them


class WandbRun(WandbLogger):
    """A W&B run in the run's folder, with its axes defined."""

    def __init__(
        self,
        save_dir: Path,
        project: str = "miner",
        offline: bool = True,
        group: str | None = None,
        job_type: str = "fit",
        tags: Sequence[str] = (),
        notes: str | None = None,
        log_representation: bool = False,
        sweep: SweepInfo | None = None,
    ) -> None:
        """Start the run; in a sweep it has the sweep's group and is named by what differs."""
        save_dir.mkdir(parents=True, exist_ok=True)
        differing = list(sweep.differing) if sweep else []
        place = RunPlace(
            dir=str(save_dir),
            project=project,
            job_type=job_type,
            group=group or (sweep.name if sweep else None),
            name=" ".join(differing) or None,
            notes=notes or " ".join(differing) or None,
            tags=[*tags, *differing],
        )
        run = start_run(place, offline)
        _define_axes(run)
        self._product = save_dir / "representation" if log_representation else None
        super().__init__(experiment=run, save_dir=str(save_dir), offline=run.offline)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # type: ignore[override]
        """Log the configuration; what a W&B agent chose is there already, and locked.

        Where it chose a group's option, as `pyramid=laplacian`, the option's settings go to
        `pyramid_settings`.
        """
        fixed = [name for name in params if name in self.experiment.config]
        groups = [name for name in fixed if isinstance(params[name], Mapping)]
        free = {name: value for name, value in params.items() if name not in fixed}
        super().log_hyperparams(free | {f"{name}_settings": params[name] for name in groups})

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log with the metrics' own axes; W&B's counter only says in which order they came."""
        doubled = dict(metrics)
        if "fit/psnr_db" in metrics:
            for axis in ("seconds", "parameters"):
                doubled[f"fit/psnr_db_by_{axis}"] = metrics["fit/psnr_db"]
        self.experiment.log(doubled)

    def log_results(self, report: Mapping[str, Any], pictures: Mapping[str, RGBImage]) -> None:
        """Put the report's numbers into the summary; log the pictures and, if asked, the product.

        Levels are named by their number, as `levels/0/psnr_db`.
        """
        images = {name: wandb.Image(array) for name, array in pictures.items()}
        # W&B's search reads its metric from the history.
        wanted = {name: report[name] for name in ("objective",) if name in report}
        self.experiment.log(images | wanted)
        kept = {name: value for name, value in report.items() if name not in _NOT_IN_SUMMARY}
        self.experiment.summary.update(dict(_scalars(kept)))
        if self._product is not None:
            self._log_product(self._product)

    def finalize(self, status: str) -> None:
        """Nothing: results are still to come when the fit ends; `finish` closes the run."""

    def finish(self, succeeded: bool) -> None:
        """Close the run, so that the next job of a sweep gets its own."""
        self.experiment.finish(exit_code=0 if succeeded else 1)

    def _log_product(self, folder: Path) -> None:
        artifact = wandb.Artifact(f"representation-{self.experiment.id}", type="representation")
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            # Immutable: the upload reads the run's folder itself, no copy in W&B's own.
            name = path.relative_to(folder).as_posix()
            artifact.add_file(str(path.resolve()), name, policy="immutable", skip_cache=True)
        self.experiment.log_artifact(artifact)


def _define_axes(run: "wandb.Run") -> None:
    for axis in ("fit/step", "fit/seconds", "fit/parameters", "level/level"):
        run.define_metric(axis, hidden=axis != "fit/step")
    run.define_metric("fit/psnr_db", step_metric="fit/step", summary="last")
    for axis in ("seconds", "parameters"):
        run.define_metric(f"fit/psnr_db_by_{axis}", step_metric=f"fit/{axis}", summary="last")
    run.define_metric("level/*", step_metric="level/level")


def _scalars(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif name == "levels":
            for level in value:
                yield from _scalars(level, f"{prefix}levels/{level['level']}/")
        elif isinstance(value, int | float | str | bool | None):
            yield f"{prefix}{name}", value


Cell = str | float | None
_MAX_PAGE_BYTES = 20_000_000  # a larger page is slow to upload and to open


@dataclass(frozen=True)
class SweepRun:
    """Where a sweep's jobs are filed, so that the closing run is found among them."""

    folder: Path
    project: str
    group: str
    offline: bool = True


def log_comparison(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    sweep: SweepRun,
    counts: Mapping[str, int],
    page: Path | None = None,
) -> None:
    """Log a sweep's table, its page and how many jobs ended how, in a run of job type `summary`.

    A page that is missing or large is left out; the sweep's folder has it.
    """
    place = RunPlace(
        dir=str(sweep.folder),
        project=sweep.project,
        job_type="summary",
        group=sweep.group,
        name="comparison",
    )
    run = start_run(place, sweep.offline)
    try:
        run.log({"comparison": wandb.Table(columns=list(columns), data=_uniform(rows))})
        if page is not None and page.exists() and page.stat().st_size <= _MAX_PAGE_BYTES:
            run.log({"comparison_page": wandb.Html(str(page), inject=False)})
        run.summary.update(dict(counts))
    finally:
        run.finish()


def _uniform(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    """Rows whose columns hold numbers or else texts, as W&B's tables demand, with gaps."""
    columns = [_one_type(column) for column in zip(*rows, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _one_type(column: Sequence[Cell]) -> list[Cell]:
    if all(cell is None or isinstance(cell, int | float) for cell in column):
        return [None if cell is None else float(cell) for cell in column]
    return [None if cell is None else str(cell) for cell in column]
