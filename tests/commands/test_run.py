"""What a run leaves in its folder, and that it is correct."""

import csv
import hashlib
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
import yaml
from acting_loggers import Raising, acting
from omegaconf import OmegaConf
from PIL import Image
from runs import TINY, WITH_PICTURES, Command, Fit, read_report
from skimage.metrics import peak_signal_noise_ratio

import miner
from miner.config.fingerprint import job_hash
from miner.images.source import open_image
from miner.metrics.scores import Evaluation
from miner.signals.regions import whole

REPORT_KEYS = """report_version status image image_sha256 width_px height_px channels
masked_pixels mask_sha256 data_range
psnr_db ssim seam_ratio n_parameters parameters_per_pixel file_bytes bits_per_pixel wall_time_s
fit_time_s render_time_s peak_memory_gib peak_gpu_memory_gib device world_size threads
n_resumed_shards seed versions overrides levels curve objective hash settings commit host command"""
LEVEL_KEYS = """level width_px height_px n_blocks n_active n_converged n_diverged n_missed
n_replaced n_parameters psnr_db wall_time_s"""
PICTURES = ["blocks.png", "error.png", "curves.png", "reconstruction.png"]


@pytest.fixture(scope="module")
def report(logged_run: Path) -> dict[str, Any]:
    return read_report(logged_run)


def test_run_folder_holds_what_the_contract_names(logged_run: Path) -> None:
    expected = {*PICTURES, "report.json", "representation", "thumbnails", "run.log"}
    expected |= {"wandb", "csv", "tensorboard", ".hydra", ".lock", ".miner.json"}
    assert {path.name for path in logged_run.iterdir()} == expected
    paths = sorted((logged_run / "representation").iterdir())
    shards = [f"level{level:02d}-chunk00000.safetensors" for level in (0, 1)]
    assert [path.name for path in paths] == [*shards, "manifest.json"]
    assert len({path.stat().st_mode & 0o777 for path in paths}) == 1  # all can be read, or none
    assert all(np.ptp(cv2.imread(str(logged_run / name))) > 0 for name in PICTURES)
    log = (logged_run / "run.log").read_text()
    positions = [log.index(words) for words in ("level 1", "level 0", "PSNR")]
    assert positions == sorted(positions)
    overrides = yaml.safe_load((logged_run / ".hydra" / "overrides.yaml").read_text())
    assert set(TINY) - {"logger=none", "callbacks.pictures=null"} <= set(overrides)


def test_bound_that_is_above_most_values_is_warned_about(tmp_path: Path, command: Command) -> None:
    np.save(tmp_path / "wide.npy", np.exp(np.linspace(-9, 9, 480).reshape(20, 24)))
    lines = command("image.path=wide.npy", "fitting.target_psnr=30").lines
    assert any("and fitting.max_mse=0.001 allows an error of" in line for line in lines)


def test_settings_are_printed_on_request(command: Command) -> None:
    lines = command("extras.print_config=true", "hydra.run.dir=run").lines
    assert "  lr: 0.02" in lines
    (folder,) = [line for line in lines if line.startswith("  output_dir: ")]
    assert folder.endswith("/run")


def test_thumbnails_differ_and_have_the_shape_of_the_image(tmp_path: Path, fit: Fit) -> None:
    Image.fromarray(np.tile(pixels(np.uint8), (1, 28))).save(tmp_path / "wide.png")
    folder = fit(
        f"image.path='{tmp_path}/wide.png'", "patch_size=128", "capacity=uniform", WITH_PICTURES
    )
    paths = sorted((folder / "thumbnails").iterdir())
    assert [path.stem for path in paths] == ["blocks", "error", "reconstruction"]
    blocks, error, reconstruction = (np.asarray(Image.open(path)) for path in paths)
    assert blocks.shape == error.shape == reconstruction.shape
    assert not np.array_equal(reconstruction, error)
    height, width, _ = blocks.shape
    assert width <= 320
    assert height == pytest.approx(20 * width / 672, abs=1)


def test_report_has_exactly_the_keys_of_the_contract(report: dict[str, Any]) -> None:
    assert set(report) - {"notes"} == set(REPORT_KEYS.split())
    assert [set(level) for level in report["levels"]] == 2 * [set(LEVEL_KEYS.split())]
    undefined = {key for key, value in report.items() if value is None}
    assert {note.split()[0] for note in report.get("notes", ())} == undefined


def test_report_says_what_was_run(report: dict[str, Any]) -> None:
    size = (report["width_px"], report["height_px"], report["channels"])
    assert (report["status"], report["image"], size) == ("finished", "picture", (24, 20, 3))
    assert (report["device"], report["seed"]) == ("cpu", 0)
    assert {"miner", "python", "torch"} <= set(report["versions"])
    assert set(TINY) <= set(report["overrides"])
    assert report["objective"] == report["psnr_db"]
    sides = [(level["level"], level["width_px"], level["height_px"]) for level in report["levels"]]
    assert sides == [(1, 12, 10), (0, 24, 20)]


def test_report_holds_the_settings_and_digests_of_image_and_job(
    logged_run: Path, report: dict[str, Any]
) -> None:
    stored = OmegaConf.load(logged_run / ".hydra" / "config.yaml")
    stored.paths.output_dir = str(logged_run)
    assert report["settings"]["config"] == OmegaConf.to_container(stored, resolve=True)
    chosen = report["settings"]["choices"]
    assert (chosen["pyramid"], chosen["trainer"]) == ("gaussian", "cpu")
    assert "experiment" not in chosen and chosen["image"] == "file"
    picture = logged_run.parent / "picture.png"
    assert report["image_sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert re.fullmatch("[0-9a-f]{8}", report["hash"])
    assert report["hash"] == job_hash(stored)


def test_curve_has_columns_of_one_length_and_ends_with_what_is_stored(
    report: dict[str, Any],
) -> None:
    curve = report["curve"]
    assert set(curve) == {"level", "step", "seconds", "parameters", "psnr_db", "refit"}
    assert len({len(column) for column in curve.values()}) == 1
    assert [curve["level"][0], curve["level"][-1]] == [1, 0]
    assert curve["parameters"][-1] == report["n_parameters"]
    assert curve["psnr_db"][-1] == report["levels"][-1]["psnr_db"]
    for name in ("step", "seconds", "parameters"):
        assert curve[name] == sorted(curve[name])


def test_report_counts_and_scores_what_is_stored(logged_run: Path, report: dict[str, Any]) -> None:
    stored = miner.load(logged_run)
    n_bytes = sum(path.stat().st_size for path in (logged_run / "representation").iterdir())
    assert report["n_parameters"] == stored.n_parameters
    assert report["parameters_per_pixel"] == stored.n_parameters / 480
    assert (report["file_bytes"], report["bits_per_pixel"]) == (n_bytes, 8 * n_bytes / 480)
    counted = {level["level"]: level["n_parameters"] for level in report["levels"]}
    levels = {
        level: miner.Representation(stored.spec, {level: stored.shards[level]}) for level in counted
    }
    assert counted == {level: alone.n_parameters for level, alone in levels.items()}
    source = torch.from_numpy(open_image(str(logged_run.parent / "picture.png"), 480).read())
    psnr_db = peak_signal_noise_ratio(source.numpy(), stored.render(), data_range=1)
    evaluation = Evaluation(stored.spec.grid(0), stored.spec.n_channels)
    evaluation.add(whole(source.shape[1:]), source, torch.from_numpy(stored.render()))
    scores = evaluation.scores()
    assert report["psnr_db"] == pytest.approx(psnr_db, abs=1e-4)
    assert report["ssim"] == pytest.approx(scores["ssim"], abs=1e-5)
    assert report["seam_ratio"] == pytest.approx(scores["seam_ratio"], rel=1e-4)
    times = [level["wall_time_s"] for level in report["levels"]]
    assert min(times) > 0 < report["render_time_s"]
    assert sum(times) < report["wall_time_s"] > report["fit_time_s"] > 0


def test_report_counts_networks_of_any_width(fit: Fit) -> None:
    run = fit(
        "capacity=target_error", "storage=int8", "level_selection.coarse_ratio=1", "logger=csv"
    )
    report, stored = read_report(run), miner.load(run)
    for level in report["levels"]:
        (shard,) = stored.shards[level["level"]]
        sizes = {width: stored.spec.model(0, width).n_parameters for width in shard.stored}
        assert len(sizes) > 1
        assert level["n_parameters"] == sum(sizes[width] for width in shard.widths.tolist())
        assert level["n_active"] == len(shard.widths)
    assert report["n_parameters"] == stored.n_parameters
    with (run / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["fit/psnr_db"]]
    assert float(rows[-1]["fit/parameters"]) == stored.n_parameters


def pixels(dtype: type, *channels: int) -> np.ndarray:
    values = np.random.default_rng(0).random((20, 24, *channels))
    if dtype is np.float32:
        return values.astype(dtype)
    return (values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("channels", [(), (3,), (4,)], ids=["grey", "rgb", "rgba"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_reconstruction_is_stored_as_the_source_is(
    tmp_path: Path, fit: Fit, dtype: type, channels: tuple[int, ...]
) -> None:
    values = pixels(dtype, *channels)
    cv2.imwrite(str(tmp_path / "source.png"), values)
    folder = fit(f"image.path='{tmp_path}/source.png'")
    written = cv2.imread(str(folder / "reconstruction.png"), cv2.IMREAD_UNCHANGED)
    assert (written.dtype, written.shape) == (values.dtype, values.shape)
    unit = open_image(str(folder / "reconstruction.png"), 480, value_range="dtype").read()
    rounding = 0.5 / np.iinfo(dtype).max
    assert np.abs(unit - miner.load(folder).render()).max() <= rounding + 1e-6


def test_reconstruction_of_floats_is_a_tiff(tmp_path: Path, fit: Fit) -> None:
    source = tmp_path / "source.tif"
    tifffile.imwrite(source, 100 * pixels(np.float32, 3) - 20, photometric="rgb")
    folder = fit(f"image.path='{source}'")
    written = cv2.imread(str(folder / "reconstruction.tif"), cv2.IMREAD_UNCHANGED)
    assert (written.dtype, written.shape) == (np.float32, (20, 24, 3))
    assert not (folder / "reconstruction.png").exists()
    assert written.min() >= -20 and written.max() <= 80 and np.ptp(written) > 10


@pytest.mark.parametrize(
    ("shape", "crop"), [((1, 1), 0), ((1, 19), 0), ((7, 9), 0), ((17, 23), 0), ((20, 24), 12)]
)
def test_any_size_runs(tmp_path: Path, fit: Fit, shape: tuple[int, int], crop: int) -> None:
    height, width = shape
    Image.fromarray(pixels(np.uint8)[:height, :width]).save(tmp_path / "source.png")
    middle = [f"image.crop_px={crop}"] if crop else []
    folder = fit(f"image.path='{tmp_path}/source.png'", WITH_PICTURES, *middle)
    sides = (crop, crop) if crop else shape
    assert miner.load(folder).render().shape == (1, *sides)
    report = read_report(folder)
    assert (report["height_px"], report["width_px"]) == sides


def test_perfect_psnr_and_undefined_ssim_are_null_with_a_note(tmp_path: Path, fit: Fit) -> None:
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(tmp_path / "black.png")
    report = read_report(fit(f"image.path='{tmp_path}/black.png'", WITH_PICTURES))
    assert report["psnr_db"] is report["ssim"] is None
    assert [level["n_active"] for level in report["levels"]] == [0, 0]
    assert {"psnr_db is inf", "levels[1].psnr_db is inf"} <= set(report["notes"])
    assert any("ssim" in note and "11" in note for note in report["notes"])


def test_command_and_function_agree_to_the_bit(picture: Path, fit: Fit) -> None:
    source = open_image(str(picture), 480).read()
    settings = {"pyramid": {"n_levels": 2}, "fitting": {"max_steps": 3}, "model": {"width": 4}}
    in_memory = miner.fit(source, image={"range": "dtype"}, patch_size=8, **settings)
    assert np.array_equal(miner.load(fit()).render(), in_memory.render())


def test_failed_run_is_reported(tmp_path: Path, command: Command) -> None:
    assert command("hydra.run.dir=run", "seed=7", acting(Raising)).status != 0
    report = read_report(tmp_path / "run")
    assert (report["status"], report["reason"]) == ("failed", "RuntimeError: out of paper")
    assert (report["image"], report["seed"]) == ("picture", 7)
    assert "seed=7" in report["overrides"]
    assert report["settings"]["config"]["seed"] == 7


def test_runs_of_one_moment_have_different_folders_below_outputs(
    tmp_path: Path, command: Command
) -> None:
    assert [command("logger=[wandb,csv]").status, command().status] == [0, 0]
    assert len(list(tmp_path.glob("outputs/*/*/report.json"))) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"outputs", "picture.png"}
