"""Methods beside the pyramid of blocks: runs, what they store, what they refuse, sweeps of them."""

import math
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from in_process import composed
from peer_runs import RUN, SMALL, fit, refused
from PIL import Image
from safetensors.numpy import load_file

from miner.api import compose_settings
from miner.cli.checks import check_settings, check_unchanged
from miner.cli.sweep import JobGrid
from miner.comparison.comparison import Comparison
from miner.comparison.runs import read_results
from miner.config.build import CONF_FOLDER
from miner.config.fingerprint import job_hash
from miner.config.job import finished_report
from miner.engine.method import configured
from miner.images.source import open_image
from miner.peers.coordinates import Siren
from miner.peers.training import coordinates
from miner.run import main

OPTIONS = {file.stem: file.read_text() for file in (CONF_FOLDER / "method").glob("*.yaml")}
NETWORKS = sorted(name for name, text in OPTIONS.items() if "NetworkPeer" in text)
FORMATS = sorted(name for name, text in OPTIONS.items() if "parameters_per_pixel: null" in text)
FORMATS.remove("miner")
SWEEPS = sorted(file.stem for file in (CONF_FOLDER / "experiment" / "peers").glob("*.yaml"))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_run_and_store_what_they_count(tmp_path: Path, name: str) -> None:
    report = fit(tmp_path / "run", f"method={name}", *SMALL)
    assert math.isfinite(report["psnr_db"])
    assert report["parameters_per_pixel"] <= 20
    assert report["n_steps"] == 3
    assert report["diverged"] is False
    stored = load_file(tmp_path / "run" / report["file"])
    assert sum(array.size for array in stored.values()) == report["n_parameters"]
    assert report["file_bytes"] == (tmp_path / "run" / report["file"]).stat().st_size
    assert finished_report(tmp_path / "run") is not None


@pytest.mark.parametrize("name", ["dct", *FORMATS])
def test_codecs_run(tmp_path: Path, name: str) -> None:
    report = fit(tmp_path / "run", f"method={name}")
    assert report["psnr_db"] > 25
    assert (report["n_parameters"] is None) == (name != "dct")
    assert report["bits_per_pixel"] == 8 * report["file_bytes"] / 24**2


def test_the_score_is_that_of_the_stored_network(tmp_path: Path) -> None:
    report = fit(tmp_path / "run", "method=siren", *SMALL, "method.lr=1e-3")
    network = Siren((24, 24), 3, report["network_size"])
    stored = load_file(tmp_path / "run" / report["file"])
    network.load_state_dict({name: torch.from_numpy(array) for name, array in stored.items()})
    rendered = (network(coordinates(torch.arange(576), (24, 24))).T + 1) / 2
    image = open_image("sample:chelsea", crop_px=24).read()
    mse = np.square(rendered.detach().clamp(0, 1).numpy() - image.reshape(3, -1)).mean()
    assert report["psnr_db"] == pytest.approx(-10 * math.log10(mse), abs=1e-4)


def test_a_seed_decides_all(tmp_path: Path) -> None:
    own = ("method=wire", *SMALL, "method.batch_pixels=100")
    first, same, other = (
        fit(tmp_path / name, *own, f"seed={len(name)}")["psnr_db"] for name in ("a", "b", "cc")
    )
    assert first == same != other


def test_pixels_without_data_are_not_trained_on(tmp_path: Path) -> None:
    values, mask = np.full((20, 30), 200, np.uint8), np.zeros((20, 30), np.uint8)
    values[5:15, 5:25], mask[5:15, 5:25] = 50, 255
    for name, array in (("image", values), ("mask", mask)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    paths = [f"image.path='{tmp_path}/image.png'", f"image.mask='{tmp_path}/mask.png'"]
    own = ("method=grid", "method.parameters_per_pixel=0.1", "method.max_steps=300")
    report = fit(tmp_path / "run", *own, *paths, "image.crop_px=null")
    assert report["masked_pixels"] == 400
    assert report["psnr_db"] > 50  # which the other pixels would keep it from


def test_volumes_take_a_network_and_no_codec(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).random((6, 7, 8, 1), dtype=np.float32)
    np.save(tmp_path / "volume.npy", volume)
    own = f"image.path='{tmp_path}/volume.npy'", "image.axes=DHWC", "image.crop_px=null"
    report = fit(tmp_path / "run", "method=hash_grid", *own, "method.max_steps=2", *SMALL[:1])
    assert math.isfinite(report["psnr_db"])
    assert refused("method=dct", *own).startswith("method: ")


def test_formats_take_1_or_3_channels(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.zeros((8, 9, 2), np.float32))
    own = f"image.path='{tmp_path}/image.npy'", "image.axes=HWC", "image.crop_px=null"
    assert refused("method=jpeg", *own).startswith("method: 2 channels: ")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["method=siren", "optimizer.lr=0.123"], "optimizer.lr=0.123: "),
        (["method=siren", "patch_size=16"], "patch_size=16: "),
        (
            ["method=siren", "method.parameters_per_pixel=1e12"],
            "method.parameters_per_pixel=1000000000000.0: takes ",
        ),
        (["method=dct", "experiment=fast"], "pyramid._target_="),
        (["method=siren", "trainer=ddp"], "trainer.strategy=miner_ddp: "),
        (["method=siren", "trainer.max_time=00:00:01:00"], "trainer.max_time=00:00:01:00: "),
        (["method=siren", "method.parameters_per_pixel=0.001"], "method.parameters_per_pixel="),
        (["method=siren", "method.max_seconds=0"], "method.max_seconds=0: must be a number above"),
        (["method=siren", "method.batch_pixels=0"], "method.batch_pixels=0: must be a whole"),
        (["method=siren", "method.network.depth=a"], "method.network: "),
        (["method=siren", "method.network.depth=0"], "method.network: values (2, 4) at 2 coord"),
        (["method=siren", "~method.network"], "method.network: names no class"),
        (["method=gauss", "method.network.scale=x"], "method.network: "),
        (["method=fourier_features", "method.network.n_frequencies=0"], "method.network: "),
        (["method=hash_grid", *SMALL, "method.network.n_levels=0"], "method.network: 4288 param"),
        (["method=hash_grid", *SMALL, "method.network.n_features=0"], "method.network: 4288 param"),
        (["method=hash_grid", *SMALL, "method.betas=[2,3]"], "method.betas=2: must be two num"),
        (["method=hash_grid", *SMALL, "method.betas=[0.9]"], "method.betas=[0.9]: must be two"),
        (["method=jpeg_xl", "method.codec.options={effort:99}"], "ImagecodecsCodec(name='jpegxl'"),
        (["method=webp", "method.codec.options={effort:x}"], "VipsCodec(suffix='.webp'"),
        (["method=jpeg", "+method.codec.options={no:1}"], "VipsCodec(suffix='.jpg'"),
        (["method=jpeg", "method.codec.quality=500"], "method.codec.quality=500: must be a whole"),
        (["method=jpeg", "method.max_seconds=5"], "method.max_seconds=5"),
        (["method=jpeg", "objective=psnr_at_parameters"], "objective.cost="),
        (["method.max_seconds=5", "trainer.max_time=00:00:01:00"], "trainer.max_time=00:00:01:00"),
        (["method=jpeg", "method.parameters_per_pixel=0.5"], "method.parameters_per_pixel=0.5: "),
        (["method=dct", "method.parameters_per_pixel=null"], "method.parameters_per_pixel="),
        (["method.parameters_per_pixel=0.5", "pyramid=laplacian"], "pyramid._target_="),
    ],
)
def test_settings_without_use_are_refused(overrides: list[str], said: str) -> None:
    line = refused(*overrides)
    assert line.startswith(said) and "\n" not in line


def test_blocks_are_scored_when_the_time_is_over(tmp_path: Path) -> None:
    own = "patch_size=8", "fitting.blocks_per_shard=1", "fitting.max_steps=2"
    report = fit(tmp_path / "run", *own, "method.max_seconds=1e-6")
    assert report["status"] == "finished"
    assert math.isfinite(report["psnr_db"])
    level = report["levels"][-1]
    assert level["n_active"] < level["n_blocks"]


def test_a_size_of_the_pyramid_is_the_recipe_of_a_budget(tmp_path: Path) -> None:
    size = "method.parameters_per_pixel=0.5"
    own = configured(composed(*RUN, size))
    recipe = compose_settings({"experiment": "budget", "capacity.parameters_per_pixel": 0.5})
    for group in ("capacity", "optimizer", "pyramid", "schedule", "fitting"):
        assert own[group] == recipe[group]
    changed = configured(composed(*RUN, size, "experiment=budget", "optimizer.lr=0.5"))
    assert (changed.optimizer.lr, changed.capacity.parameters_per_pixel) == (0.5, 0.5)
    limited = configured(composed(*RUN, "method.max_seconds=9"))
    assert limited.trainer.max_time == {"seconds": 9}


def test_options_are_jobs_of_their_own() -> None:
    names = ["miner", *FORMATS, *NETWORKS, "dct"]
    hashes = [job_hash(composed(*RUN, f"method={name}")) for name in names]
    qualities = [job_hash(composed(*RUN, "method=jpeg", f"method.codec.quality={q}")) for q in "67"]
    assert len({*hashes, *qualities}) == len(names) + 2


@pytest.mark.parametrize("name", SWEEPS)
def test_ready_sweeps_compose_and_are_accepted(name: str) -> None:
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        experiment = f"experiment=peers/{name}"
        sweeper = hydra.compose("config", [experiment], return_hydra_config=True).hydra.sweeper
        swept = [f"{key}={values}" for key, values in sweeper.params.items()]
        jobs = [
            job for _, job in JobGrid("config", [*swept, experiment, *RUN[:2]]).single_changes()
        ]
        for job in jobs:
            check_settings(configured(job))
    assert len({job_hash(job) for job in jobs}) == len(jobs) > 1


def test_a_sweep_compares_methods_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["-m", "method=grid,dct", *RUN, f"hydra.sweep.dir={tmp_path}/sweep"]
    more = "method.max_seconds=0.2"
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["miner.run", *own, more])
        main()
    assert "2 of them finished" in capsys.readouterr().out
    results = read_results([tmp_path / "sweep"])
    assert Comparison(results).factors == {"method": ["grid", "dct"]}
    assert [result.status for result in results] == ["finished", "finished"]
    assert (tmp_path / "sweep" / "comparison.html").exists()


def test_another_run_of_a_method_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = [*RUN, "method=dct", f"hydra.run.dir={folder}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["miner.run", *arguments])
        main()
        patch.setattr("sys.argv", ["miner.run", *arguments, "method.codec.block_size=16"])
        with pytest.raises(SystemExit, match="1"):
            main()


def test_a_damaged_report_refuses_no_run(tmp_path: Path) -> None:
    fit(tmp_path / "run", "method=dct")
    config = composed(*RUN, "method=dct", "method.codec.block_size=16")
    (tmp_path / "run" / "report.json").write_text("{")
    check_unchanged(tmp_path / "run", config, "cpu")


def test_nothing_but_configurations_names_the_folder() -> None:
    miner = Path(CONF_FOLDER.parent / "miner")
    others = [file for file in miner.rglob("*.py") if file.parent.name != "peers"]
    assert len(others) > 50
    assert [file for file in others if "miner.peers" in file.read_text()] == []
