"""The example notebook runs, and shows what its text says."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "example.ipynb"


@pytest.fixture(scope="module")
def variables() -> dict[str, Any]:
    """All variables of the notebook after its code cells were run in turn."""
    matplotlib.use("agg")
    found: dict[str, Any] = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), found)
    return found


def test_notebook_fits_the_picture(variables: dict[str, Any]) -> None:
    assert variables["score"] > 30
    assert variables["same"]


def test_notebook_compares_two_pyramids(variables: dict[str, Any]) -> None:
    assert set(variables["scores"]) == {"gaussian", "laplacian"}
    assert variables["scores"]["gaussian"] == variables["score"]


def test_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
