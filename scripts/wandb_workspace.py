"""Make a W&B workspace, a saved view of a project, that shows sweeps as docs/dashboards.md says.

pip install -e '.[workspace]'
python scripts/make_workspace.py ENTITY/PROJECT              makes it and prints its address
python scripts/make_workspace.py ENTITY/PROJECT --dry-run    prints its layout; needs no account
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
    arguments = read_arguments()
    entity, project = arguments.place
    workspace = build(entity, project)
    if arguments.dry_run:
        for section in workspace.sections:
            print(section.name)
            for panel in section.panels:
                print(f"  {getattr(panel, 'title', 'table of the closing run')}")
        return 0
    try:
        workspace.save()  # type: ignore[no-untyped-call] # prints the address
    except wandb.errors.Error as error:
        print(f"{entity}/{project}: no workspace is made: {error}", file=sys.stderr)
        return 1
    return 0


def read_arguments() -> argparse.Namespace:
    """The project and what to do."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", metavar="ENTITY/PROJECT", type=entity_and_project)
    parser.add_argument("--dry-run", action="store_true", help="print the layout, save nothing")
    return parser.parse_args()


def entity_and_project(text: str) -> tuple[str, str]:
    """Split the name of a project, which has to say whose it is."""
    entity, _, project = text.partition("/")
    if not entity or not project or "/" in project:
        raise argparse.ArgumentTypeError(f"{text}: must be ENTITY/PROJECT, as my-team/miner")
    return entity, project


def build(entity: str, project: str) -> workspaces.Workspace:
    """The workspace, not saved yet: runs grouped by sweep, best first."""
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[curves(), costs(), pictures(), comparison()],
        runset_settings=workspaces.RunsetSettings(
            groupby=[expr.Metric("Group")],
            order=[expr.Ordering(expr.Summary("psnr_db"), ascending=False)],
            pinned_columns=[f"summary:{name}" for name in COLUMNS],
        ),
    )


def curves() -> workspaces.Section:
    """PSNR while the runs fit, over each of their axes."""
    plots: list[panels.PanelTypes] = [
        panels.LinePlot(title=f"PSNR against {axis}", x=x, y=[y], title_x=axis, title_y=PSNR)
        for x, (y, axis) in CURVES.items()
    ]
    return workspaces.Section(name="Fit", panels=plots, is_open=True)


def costs() -> workspaces.Section:
    """Where the runs ended: quality against what it cost."""
    plots: list[panels.PanelTypes] = [
        panels.ScatterPlot(
            title=f"PSNR against {axis}",
            x=panels.SummaryMetric(name),
            y=panels.SummaryMetric("psnr_db"),
            log_x=True,
        )
        for name, axis in COSTS.items()
    ]
    return workspaces.Section(name="Quality and cost", panels=plots, is_open=True)


def pictures() -> workspaces.Section:
    """What the runs made of the image."""
    browsers: list[panels.PanelTypes] = [
        panels.MediaBrowser(title=key, media_keys=[key], num_columns=4) for key in MEDIA
    ]
    return workspaces.Section(name="Pictures", panels=browsers)


def comparison() -> workspaces.Section:
    """The tables and pages of the closing runs."""
    table = panels.WeavePanelSummaryTable(table_name="comparison")
    page = panels.MediaBrowser(title="comparison page", media_keys=["comparison_page"])
    return workspaces.Section(name="Comparison", panels=[table, page])


if __name__ == "__main__":
    sys.exit(main())
