"""Networks of somebody else's, chosen by `model=NAME`, fitted, stored, loaded and rendered."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import in_process
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

import miner
from miner.images.source import open_image
from miner.models.activations import Siren
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockModel, Parameters, select
from miner.signals.grid import coordinates

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
MINE = f"hydra.searchpath=[file://{HERE}/conf]"
OWN = {"skip": {"gain": 0.5}, "product": {"n_factors": 3}}
SEVERAL_WIDTHS = (
    *("capacity=target_error", "capacity.probe_steps=2", "fitting.max_steps=12"),
    "fitting.blocks_per_shard=99",
)
RENDER = """
import importlib, sys, numpy, miner
importlib.import_module(sys.argv[1])
numpy.save(sys.argv[3], miner.load(sys.argv[2]).render())
"""


def skip(own: Parameters, x: Tensor) -> Tensor:
    hidden = (7 * (own["first"].T @ x + own["biases"][0, :, None])).sin()
    z = own["second"].T @ hidden + own["skip"].T @ x + own["biases"][1, :, None]
    return (7 * z).sin()


def product(own: Parameters, x: Tensor) -> Tensor:
    features = torch.tensor(1.0)
    for k in range(3):
        features = features * (own[f"factor.{k}.weight"].T @ x + own[f"factor.{k}.bias"][:, None])
    return features


PLAIN: dict[str, Callable[[Parameters, Tensor], Tensor]] = {"skip": skip, "product": product}


def network(name: str, width: int = 5) -> BlockModel:
    module = importlib.import_module(name)
    found: BlockModel = getattr(module, f"{name.title()}Network")(
        CosineEncoding(3), Siren(7.0), width, **OWN[name]
    )
    return found


@pytest.mark.parametrize("name", OWN)
def test_features_are_those_of_each_block_alone(name: str) -> None:
    model, x = network(name), 2 * torch.rand(6, 9, generator=torch.Generator().manual_seed(0)) - 1
    drawn = [model.draw(6, torch.Generator().manual_seed(seed)) for seed in range(3)]
    shapes = {key: tuple(tensor.shape) for key, tensor in drawn[0].items()}
    assert shapes == model.shapes(6)
    stacked = {key: torch.stack([one[key] for one in drawn]) for key in shapes}
    for features, own in zip(model.features(stacked, x), drawn, strict=True):
        torch.testing.assert_close(features, PLAIN[name](own, x))


@pytest.mark.parametrize("name", OWN)
def test_blocks_may_have_inputs_of_their_own(name: str) -> None:
    model, x = network(name), 2 * torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(0))
    drawn = [model.draw(6, torch.Generator().manual_seed(seed)) for seed in range(3)]
    stacked = {key: torch.stack([one[key] for one in drawn]) for key in drawn[0]}
    for features, own, inputs in zip(model.features_at(stacked, x), drawn, x, strict=True):
        torch.testing.assert_close(features, PLAIN[name](own, inputs))


@pytest.mark.parametrize("name", ["skip", pytest.param("product", marks=pytest.mark.slow)])
def test_a_run_is_stored_loaded_elsewhere_and_rendered(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = (f"model={name}", "pyramid.n_levels=1", "backend=compiled", *SEVERAL_WIDTHS)
    report = in_process.run(tmp_path / "run", MINE, *chosen)
    lines = [record.getMessage() for record in caplog.records if "compiled" in record.getMessage()]
    assert lines == [
        f"backend=compiled: model {name.title()}Network is not compiled; "
        "plain PyTorch takes over (slower)"
    ]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{HERE}"}
    command = [sys.executable, "-c", RENDER, name, tmp_path / "run", tmp_path / "rendered.npy"]
    subprocess.run(command, check=True, env=environment, timeout=120)
    rendered = np.load(tmp_path / "rendered.npy")
    loaded = miner.load(tmp_path / "run")
    assert np.array_equal(rendered, loaded.render())
    image = open_image("sample:camera", 2**30, crop_px=40).read()
    psnr_db = peak_signal_noise_ratio(image, rendered, data_range=1)
    assert psnr_db == pytest.approx(report["psnr_db"], abs=1e-4)

    (found,) = loaded.shards[0]
    assert len(set(found.widths.tolist())) > 1
    encoded = CosineEncoding(8)(coordinates(10, (10, 10)))
    for width, stored in found.stored.items():
        for row, block in enumerate(found.blocks[found.widths == width].tolist()):
            own = select(stored, torch.tensor(row))
            values = own["readout.weight"].T @ PLAIN[name](own, encoded)
            patch = (values + own["readout.bias"][:, None]).clamp(0, 1).view(-1, 10, 10)
            top, left = 10 * (block // 4), 10 * (block % 4)
            shown = torch.from_numpy(rendered[:, top : top + 10, left : left + 10])
            torch.testing.assert_close(shown, patch, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", OWN)
def test_the_manifest_describes_the_network(name: str, tmp_path: Path) -> None:
    in_process.run(tmp_path / "run", MINE, f"model={name}", "model.width=[4,3]", "activation=sine")
    manifest = json.loads((tmp_path / "run" / "representation" / "manifest.json").read_text())
    models: list[dict[str, Any]] = [level["model"] for level in manifest["spec"]["models"]]
    assert [model["width"] for model in models] == [4, 3]
    for model in models:
        assert model["_target_"] == f"{name}.{name.title()}Network"
        assert model["activation"] == {"_target_": "miner.models.activations.Sine", "a": 0.2}
        assert model.items() >= OWN[name].items()


@pytest.mark.parametrize("options", [["weights=shared", "storage=int8"], ["weights=parent_frame"]])
@pytest.mark.parametrize("name", OWN)
def test_children_start_from_their_parents(name: str, options: list[str], tmp_path: Path) -> None:
    changes = [MINE, f"model={name}", *options, "fitting.max_steps=15", "fitting.max_mse=1e-9"]
    report = in_process.run(tmp_path / "run", *changes)
    loaded = miner.load(tmp_path / "run")
    assert sum(shard.stats.n_fresh for shard in loaded.shards[0]) == 0
    image = open_image("sample:camera", 2**30, crop_px=40).read()
    psnr_db = peak_signal_noise_ratio(image, loaded.render(), data_range=1)
    assert psnr_db == pytest.approx(report["psnr_db"], abs=1e-4)
