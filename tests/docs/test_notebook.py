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


def test_notebook_shows_what_a_result_is(variables: dict[str, Any]) -> None:
    assert variables["again"]["psnr_db"] == pytest.approx(variables["score"], abs=1e-3)
    assert variables["values"].shape == (1000, 1) and variables["slopes"].abs().max() > 0.1
    assert variables["eye"].shape == (1, 300, 300) and variables["pixels"].shape == (2, 1)
    assert variables["part"].shape == (10, 96)
    assert variables["losses"][-1] < variables["losses"][0]
    assert variables["brighter"].render().mean() > variables["mean"]
    assert variables["written"] > 4 * 384 * 384 / 10


def test_notebook_compares_two_pyramids(variables: dict[str, Any]) -> None:
    assert set(variables["scores"]) == {"gaussian", "laplacian"}
    assert variables["scores"]["gaussian"] == variables["score"]


def test_notebook_is_stored_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
