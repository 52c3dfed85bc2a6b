"""`scripts/wandb_workspace.py`: the layout of the workspace, without an account."""

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, of pydantic
        pytest.importorskip("wandb_workspaces", reason="pip install -e '.[workspace]'")
        return importlib.import_module("wandb_workspace")


@pytest.fixture(scope="module")
def view(script: ModuleType) -> dict[str, Any]:
    """What would be sent to W&B."""
    spec: dict[str, Any] = script.build("team", "miner")._spec
    return spec


def panels_of(view: dict[str, Any], section: str) -> list[dict[str, Any]]:
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    (found,) = [one for one in sections if one["name"] == section]
    return [panel["config"] for panel in found["panels"]]


def test_psnr_is_drawn_over_the_axes_that_runs_define_and_over_costs(view: dict[str, Any]) -> None:
    assert (view["entity"], view["project"]) == ("team", "miner")
    drawn = {panel["xAxis"]: panel["metrics"] for panel in panels_of(view, "Fit")}
    assert drawn == {
        "fit/step": ["fit/psnr_db"],
        "fit/seconds": ["fit/psnr_db_by_seconds"],
        "fit/parameters": ["fit/psnr_db_by_parameters"],
    }
    costs = {panel["xAxis"]: panel["yAxis"] for panel in panels_of(view, "Quality and cost")}
    names = ("n_parameters", "fit_time_s", "bits_per_pixel")
    assert costs == {f"summary:{name}": "summary:psnr_db" for name in names}


def test_pictures_and_page_are_shown_and_runs_grouped(view: dict[str, Any]) -> None:
    keys = [panel["mediaKeys"] for panel in panels_of(view, "Pictures")]
    assert keys == [["reconstruction/level_0"], ["blocks"], ["error"]]
    assert panels_of(view, "Comparison")[1]["mediaKeys"] == ["comparison_page"]
    (runs,) = view["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["group"]


def test_without_an_account_the_layout_is_printed_and_nothing_saved(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["wandb_workspace.py", "team/miner", "--dry-run"])
    assert script.main() == 0
    assert "PSNR against seconds of fit" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["wandb_workspace.py", "team/miner"])
    assert script.main() == 1
    printed = capsys.readouterr().err
    assert "team/miner: no workspace is made" in printed and "wandb login" in printed


@pytest.mark.parametrize("project", ["miner", "team/", "/miner", "a/b/c"])
def test_a_project_without_its_owner_is_refused(
    script: ModuleType, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["wandb_workspace.py", project])
    with pytest.raises(SystemExit, match="2"):
        script.main()
