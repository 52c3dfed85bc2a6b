"""A class and a YAML file of one's own for each of the smaller groups, used by a run."""

import json
from pathlib import Path
from typing import Any

import in_process
import numpy as np
import pytest
import torch
from parts import SuddenSchedule

import miner
from miner.images.source import open_image
from miner.representation import Representation

MINE = f"hydra.searchpath=[file://{Path(__file__).parent}/conf]"


def run(folder: Path, *overrides: str) -> tuple[dict[str, Any], Representation]:
    """A run's report, and what it has stored."""
    report = in_process.run(folder, MINE, "fitting.max_steps=8", *overrides)
    return report, miner.load(folder)


def test_an_encoding_decides_the_inputs(tmp_path: Path) -> None:
    _, stored = run(tmp_path, "encoding=powers")
    points = torch.tensor([[0.5, -1.0], [0.25, 0.0]])
    found = stored.spec.model(0).model.encode(points)
    assert found.tolist() == [row for k in (1, 2, 3, 4) for row in (points**k).tolist()]
    manifest = json.loads((tmp_path / "representation" / "manifest.json").read_text())
    encoding = manifest["spec"]["models"][0]["model"]["encoding"]
    assert encoding == {"_target_": "parts.Powers", "n_powers": 4}


def test_a_readout_finds_the_output_layer(tmp_path: Path) -> None:
    report, stored = run(tmp_path, "readout=mean", "backend=compiled", "pyramid.n_levels=1")
    patches = stored.render().reshape(1, 4, 10, 4, 10)
    assert float(np.ptp(patches, axis=(2, 4)).max()) == 0  # every patch of the image is flat
    assert report["psnr_db"] > 10


def test_a_capacity_decides_widths(tmp_path: Path) -> None:
    _, stored = run(tmp_path, "capacity=alternating")
    widths = [width for shard in stored.shards[1] for width in shard.widths.tolist()]
    assert widths == [3, 4, 3, 4]


def test_a_level_selection_decides_which_blocks_are_active(tmp_path: Path) -> None:
    _, stored = run(tmp_path, "level_selection=every_other")
    assert stored.active_blocks(0).tolist() == list(range(0, 16, 2))


def test_weights_decide_where_blocks_start(tmp_path: Path) -> None:
    still = ("optimizer.lr=1e-12", "level_selection.coarse_ratio=1", "pyramid.n_levels=2")
    _, stored = run(tmp_path, "weights=mirrored", *still)
    first = {
        level: {
            int(block): shard.stored[3]["hidden.0.weight"][row]
            for shard in shards
            for row, block in enumerate(shard.blocks)
        }
        for level, shards in stored.shards.items()
    }
    for block, weight in first[0].items():
        row, column = divmod(block, 4)
        parent = first[1][row // 2 * 2 + column // 2]
        torch.testing.assert_close(weight, -parent, rtol=0, atol=1e-9)


def test_a_schedule_decides_the_rate(tmp_path: Path) -> None:
    assert [SuddenSchedule().factor(step, 8) for step in (0, 3, 4, 7)] == [1, 1, 0, 0]
    stored = [
        run(tmp_path / name, f"fitting.max_steps={n_steps}", f"schedule={name}")[1]
        for name, n_steps in (("sudden", 8), ("constant", 4))
    ]
    one, other = (each.shards[0][0].stored[3] for each in stored)
    assert all(torch.equal(one[name], other[name]) for name in one)  # it stands still from step 4


def test_a_pruning_criterion_ends_fits(tmp_path: Path) -> None:
    report, _ = run(tmp_path, "pruning=first_check")
    assert all(level["n_converged"] == level["n_active"] > 0 for level in report["levels"])
    assert report["curve"]["step"][-1] == 4  # two steps of each level


def test_a_storage_decides_what_is_written(tmp_path: Path) -> None:
    report, stored = run(tmp_path, "storage=bfloat16")
    tensors = stored.shards[0][0].stored[3].values()
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    source = open_image("sample:camera", 2**30, 40).read()
    mse = np.square(stored.render() - source).mean()
    assert report["psnr_db"] == pytest.approx(-10 * np.log10(mse), abs=1e-4)


def test_an_objective_is_in_the_report(tmp_path: Path) -> None:
    report, _ = run(tmp_path, "objective=smallest")
    assert report["objective"] == -2 * report["file_bytes"]
