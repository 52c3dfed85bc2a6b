"""Coarse levels of large images that are represented at several are read from an overview."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from runs import TINY, read_report, run_main, start_python

import miner
from miner.render import main as render
from miner.representation import Representation
from miner.support.errors import ImageError, RepresentationError

ADAPTIVE = (
    *(*TINY, "level_selection=adaptive", "pyramid=gaussian", "pyramid.n_levels=4"),
    *("patch_size=4", "fitting.max_mse=0.002", "fitting.max_steps=30"),
    *("encoding.n_frequencies=2", "capacity=uniform", "model.width=6"),
)
LARGE = "+callbacks.checkpoint.overview_pixels=1000"
OVERVIEW = "representation/overview.tif"
Values = np.ndarray[Any, Any]


def values(*shape: int, seed: int = 0) -> Values:
    """`(*S, C)` in [0.1, 0.9]: smooth, but at the end of the last axis of space."""
    noise = np.random.default_rng(seed).random(shape) - 0.5
    axes = np.indices(shape)[:-1] / 12
    busy = np.linspace(-0.6, 0.6, shape[-2]).clip(min=0)[:, None]
    return 0.5 + 0.3 * np.sin(axes.sum(0)) * np.cos(axes[-1]) * (1 - busy) + busy * noise * 0.3


def masked(pixels: Values) -> Values:
    """Without data in a corner, and in single pixels."""
    pixels = pixels.copy()
    pixels[:9, :17] = pixels[::7, ::5] = np.nan
    return pixels


IMAGES: dict[str, tuple[Values, str]] = {
    "8 bits": ((255 * values(37, 63, 3)).astype(np.uint8), "HWC"),
    "16 bits": ((65535 * values(45, 40, 1)).astype(np.uint16), "HWC"),
    "two channels": ((255 * values(37, 40, 2)).astype(np.uint8), "HWC"),
    "floats": (50 * values(40, 41, 5).astype(np.float32) - 7, "HWC"),
    "masked": (masked(values(40, 50, 1).astype(np.float32)), "HWC"),
    "volume": ((255 * values(18, 13, 21, 1)).astype(np.uint8), "DHWC"),
    "volume of channels": ((255 * values(9, 14, 21, 2)).astype(np.uint8), "DHWC"),
}


def fit(folder: Path, image: Values, axes: str, *overrides: str, run: str = "run") -> Path:
    np.save(folder / "image.npy", image)
    given = ("image.path=image.npy", f"image.axes={axes}", f"hydra.run.dir={run}", *overrides)
    assert run_main(folder, *ADAPTIVE, "callbacks.reconstruction=null", *given) == 0
    return folder / run


SIMILAR = ("16 bits", "two channels", "volume of channels")  # to others of these images


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=[pytest.mark.slow] * (n in SIMILAR)) for n in IMAGES],
)
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    return fit(folder, *IMAGES[request.param], LARGE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("finished"), *IMAGES["8 bits"], LARGE)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copy2(finished.parent / "image.npy", tmp_path / "image.npy")
    return shutil.copytree(finished, tmp_path / "run")


def without_overview(shown: Representation) -> Representation:
    return Representation(shown.spec, shown.shards)


def half_a_step(shown: Representation) -> float:
    """Of what an overview holds, in the values of `render`."""
    low, high = shown.spec.pixel_format.data_range
    is_8_bit, is_float = (shown.spec.pixel_format.dtype == one for one in ("uint8", "float32"))
    return (high - low if is_float else 1) / (510 if is_8_bit else 131070) + 1e-5


@pytest.mark.parametrize("level", [2, 3])
def test_coarse_levels_are_those_of_the_networks_but_for_rounding(fitted: Path, level: int) -> None:
    shown = miner.load(fitted)
    slow, step = without_overview(shown), half_a_step(shown)
    assert (fitted / OVERVIEW).exists()
    found, expected = shown.render(level), slow.render(level)
    np.testing.assert_allclose(found, expected, rtol=0, atol=step)
    assert (found != expected)[~np.isnan(found)].any()
    box = tuple((side // 3, side // 3 + 2) for side in found.shape[1:])
    part = found[(slice(None), *(slice(*ends) for ends in box))]
    assert np.array_equal(shown.render(level, box), part, equal_nan=True)
    larger = {"scale": 1.5}
    np.testing.assert_allclose(
        shown.render(level, **larger), slow.render(level, **larger), rtol=0, atol=step
    )


def test_finer_levels_are_those_of_the_networks(fitted: Path) -> None:
    shown = miner.load(fitted)
    slow = without_overview(shown)
    for level in (0, 1):
        assert torch.equal(shown.reconstruct(level), slow.reconstruct(level))


def test_coarse_levels_evaluate_no_finer_network(run: Path) -> None:
    shown = miner.load(run)
    for shard in (*shown.shards[0], *shown.shards[1]):
        (run / "representation" / shard.file_name).unlink()
    assert shown.render(2, ((0, 5), (3, 7))).shape == (3, 5, 4)
    assert shown.render(3).shape == (3, 5, 8)
    with pytest.raises(RepresentationError, match="the shard is missing"):
        shown.render(1)


def test_the_overview_is_an_image_of_the_level(run: Path) -> None:
    assert render([str(run), str(run.parent / "out.tif"), "--level", "2"]) == 0
    overview = tifffile.imread(run / OVERVIEW)
    assert np.array_equal(overview, tifffile.imread(run.parent / "out.tif"))
    assert (overview.shape, overview.dtype) == ((10, 16, 3), np.uint8)


def test_levels_are_rendered_without_an_overview_that_was_removed(run: Path) -> None:
    expected = without_overview(miner.load(run)).render(3)
    (run / OVERVIEW).unlink()
    assert np.array_equal(miner.load(run).render(3), expected)


@pytest.mark.parametrize("damage", ["cut", "changed", "folder", "another's"])
def test_another_file_is_refused_in_one_line(
    run: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / OVERVIEW
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "another's":
        tifffile.imwrite(path, np.zeros((10, 16, 3), np.uint8))
    else:
        path.write_bytes(content[:-9] if damage == "cut" else content)
    assert render([str(run), str(run.parent / "out.png"), "--level", "2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: not the overview that the manifest names; remove it")


def test_an_overview_that_is_damaged_in_use_is_reported(run: Path) -> None:
    shown = miner.load(run)
    (run / OVERVIEW).write_bytes(b"")
    with pytest.raises(ImageError, match=r"overview\.tif"):
        shown.render(2)


def test_it_is_saved_with_the_representation(run: Path, tmp_path: Path) -> None:
    shown, folder = miner.load(run), tmp_path / "saved"
    for _ in range(2):  # also onto itself
        shown = miner.load(shown.save(folder))
        assert (folder / "overview.tif").read_bytes() == (run / OVERVIEW).read_bytes()
    without_overview(shown).save(folder)
    assert not (folder / "overview.tif").exists()
    (folder / "overview.tif").write_text("mine")
    with pytest.raises(RepresentationError, match="is of no representation"):
        miner.load(run).save(folder)


def test_it_is_listed_with_its_digest_and_counted(run: Path) -> None:
    assert json.loads((run / ".miner.json").read_text())["made"][OVERVIEW]
    sizes = [file.stat().st_size for file in (run / "representation").iterdir()]
    assert read_report(run)["file_bytes"] == sum(sizes)


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        (LARGE, "level_selection=per_level"),
        (LARGE, "pyramid.n_levels=2"),
        (LARGE, "patch_size=6"),
    ],
)
def test_images_that_need_none_have_none(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    run = fit(tmp_path, *IMAGES["8 bits"], *overrides)
    assert not (run / OVERVIEW).exists()


def test_a_resumed_run_writes_the_same_bytes(run: Path) -> None:
    expected = (run / OVERVIEW).read_bytes()
    (run / "report.json").unlink()
    next((run / "representation").glob("level00-*")).unlink()
    assert run_main(run.parent, "resume=run") == 0
    assert (run / OVERVIEW).read_bytes() == expected


def test_a_run_that_is_stopped_has_none(run: Path) -> None:
    (run / "report.json").unlink()
    shutil.rmtree(run / "representation")
    assert run_main(run.parent, "resume=run", "+trainer.max_time=00:00:00:00") == 0
    assert read_report(run)["status"] == "stopped"
    assert not (run / OVERVIEW).exists()


@pytest.mark.slow
def test_two_ranks_write_the_same_bytes(run: Path) -> None:
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "hydra.run.dir=two")
    given = ("image.path=image.npy", "image.axes=HWC", LARGE, "fitting.in_memory_mib=0", *ddp)
    assert start_python(run.parent, "-m", "miner.run", *ADAPTIVE, *given).status == 0
    assert (run.parent / "two" / OVERVIEW).read_bytes() == (run / OVERVIEW).read_bytes()


@pytest.mark.parametrize("value", ["abc", "-1", "1.5", "null"])
def test_a_size_that_is_no_number_of_pixels_is_refused(tmp_path: Path, value: str) -> None:
    np.save(tmp_path / "image.npy", IMAGES["8 bits"][0])
    given = (f"+callbacks.checkpoint.overview_pixels={value}", "hydra.run.dir=run")
    assert run_main(tmp_path, *ADAPTIVE, "image.path=image.npy", "image.axes=HWC", *given) == 1
    assert not (tmp_path / "run" / "representation").exists()
