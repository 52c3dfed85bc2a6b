"""Make a W&B workspace, a saved view of a project, that shows sweeps as the docs describe.

pip install -e '.[workspace]'
python scripts/wandb_workspace.py ENTITY/PROJECT              makes it and prints its address
python scripts/wandb_workspace.py ENTITY/PROJECT --dry-run    prints its layout; needs no account
"""

import argparse
import sys

import wandb
import wandb_workspaces.reports.v2.interface as panels
import wandb_workspaces.workspaces as workspaces
from wandb_workspaces import expr

NAME = "MINER sweeps"
PSNR = "PSNR (dB)"
CURVES = {
    "fit/step": ("fit/psnr_db", "steps"),
    "fit/seconds": ("fit/psnr_db_by_seconds", "seconds of fit"),
    "fit/parameters": ("fit/psnr_db_by_parameters", "parameters"),
}
COSTS = {
    "n_parameters": "parameters",
    "fit_time_s": "seconds of fit",
    "bits_per_pixel": "bits per pixel",
}
MEDIA = ("reconstruction/level_0", "blocks", "error")
COLUMNS = ("psnr_db", "ssim", "n_parameters", "bits_per_pixel", "fit_time_s", "objective")


def main() -> int:
    """Make the workspace, or print what it would hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", metavar="ENTITY/PROJECT", type=entity_and_project)
    parser.add_argument("--dry-run", action="store_true", help="print the layout, save nothing")
    options = parser.parse_args()
    workspace = build(*options.project)
    if options.dry_run:
        for section in workspace.sections:
            titles = [getattr(one, "title", "table of the closing run") for one in section.panels]
            print(section.name, *titles, sep="\n  ")
        return 0
    try:
        workspace.save()  # type: ignore[no-untyped-call] # prints the address
    except wandb.errors.Error as error:
        print(f"{'/'.join(options.project)}: no workspace is made: {error}", file=sys.stderr)
        return 1
    return 0


def entity_and_project(text: str) -> tuple[str, str]:
    """Split the name of a project, which must name its owner."""
    entity, _, project = text.partition("/")
    if not entity or not project or "/" in project:
        raise argparse.ArgumentTypeError(f"{text}: must be ENTITY/PROJECT, as my-team/miner")
    return entity, project


def build(entity: str, project: str) -> workspaces.Workspace:
    """The workspace, not saved yet: runs grouped by sweep, best first."""
    curves = [
        panels.LinePlot(title=f"PSNR against {axis}", x=x, y=[y], title_x=axis, title_y=PSNR)
        for x, (y, axis) in CURVES.items()
    ]
    psnr = panels.SummaryMetric("psnr_db")
    costs = [
        panels.ScatterPlot(
            title=f"PSNR against {axis}", x=panels.SummaryMetric(name), y=psnr, log_x=True
        )
        for name, axis in COSTS.items()
    ]
    pictures = [panels.MediaBrowser(title=key, media_keys=[key], num_columns=4) for key in MEDIA]
    page = panels.MediaBrowser(title="comparison page", media_keys=["comparison_page"])
    table = panels.WeavePanelSummaryTable(table_name="comparison")
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            workspaces.Section(name="Fit", panels=[*curves], is_open=True),
            workspaces.Section(name="Quality and cost", panels=[*costs], is_open=True),
            workspaces.Section(name="Pictures", panels=[*pictures]),
            workspaces.Section(name="Comparison", panels=[table, page]),
        ],
        runset_settings=workspaces.RunsetSettings(
            groupby=[expr.Metric("Group")],
            order=[expr.Ordering(expr.Summary("psnr_db"), ascending=False)],
            pinned_columns=[f"summary:{name}" for name in COLUMNS],
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
