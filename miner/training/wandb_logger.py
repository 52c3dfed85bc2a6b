"""Weights & Biases: a run's curve, report and pictures, filed under its sweep."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger

from miner.plan import SweepPlace
from miner.training.loggers import Picture
from miner.training.wandb_start import RunPlace, start_run

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
        sweep: SweepPlace | None = None,
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

    def log_results(self, report: Mapping[str, Any], pictures: Mapping[str, Picture]) -> None:
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
