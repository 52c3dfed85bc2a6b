"""MINER in a notebook: arrays in, a representation out."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich.console
import torch
from hydra import compose, initialize_config_dir
from PIL import Image
from pytorch_lightning import Callback

import miner
from miner.api import compose_settings
from miner.config.build import CONF_FOLDER
from miner.images.pixel_format import PixelFormat
from miner.models.activations import Gaussian, Sine
from miner.models.encodings import CosineEncoding
from miner.models.network import BlockMLP
from miner.pyramids import LaplacianPyramid
from miner.representation import Representation
from miner.representation.storage import Float16Storage
from miner.support.errors import ConfigError

TINY: dict[str, Any] = {
    "patch_size": 8,
    "pyramid": {"n_levels": 2},
    "fitting": {"max_steps": 3},
    "model": {"width": 4},
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape)


def fit(array: Any, **settings: Any) -> Representation:
    return miner.fit(array, **(TINY | settings))


@pytest.mark.parametrize("shape", [(3, 20, 24), (1, 1, 1), (2, 9, 5), (2, 6, 11, 9)])
def test_rendering_has_the_shape_of_the_array_which_is_not_changed(shape: tuple[int, ...]) -> None:
    array = noise(*shape).astype(np.float32)
    before = array.copy()
    rendered = fit(array, axes="CHW" if len(shape) == 3 else "CDHW").render()
    assert rendered.shape == shape
    rendered[:] = 0
    assert np.array_equal(array, before)


def test_bound_that_is_above_most_values_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    fit(np.exp(np.linspace(-9, 9, 480).reshape(20, 24)), target_psnr=30)
    assert "and fitting.max_mse=0.001 allows an error of" in caplog.text


@pytest.mark.parametrize("convert", [np.float32, np.ndarray.tolist, torch.from_numpy, np.fliplr])
def test_all_kinds_of_arrays_are_fitted(convert: Callable[[np.ndarray], Any]) -> None:
    assert fit(convert(noise(20, 24))).render().shape == (1, 20, 24)


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P", "CMYK", "1"])
def test_images_of_pil_and_files_are_fitted_alike(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray((255 * noise(20, 24, 3)).astype(np.uint8)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    if mode == "CMYK":  # of which two libraries make two kinds of RGB
        assert fit(image).render().shape == (3, 20, 24)
        return
    rendered = fit(image).render()
    for same in (path, str(path)) if mode == "RGB" else (path,):
        np.testing.assert_array_equal(fit(same).render(), rendered)


def test_an_image_of_pil_is_turned_upright(tmp_path: Path) -> None:
    image = Image.fromarray((255 * noise(20, 24)).astype(np.uint8))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "a.png", exif=exif)
    rendered = fit(tmp_path / "a.png").render()
    assert rendered.shape == (1, 24, 20)
    np.testing.assert_array_equal(fit(Image.open(tmp_path / "a.png")).render(), rendered)


def test_integers_and_tensors_that_train_are_fitted() -> None:
    pixels = (255 * noise(20, 24, 3)).astype(np.uint8)
    fitted = fit(pixels)
    assert fitted.spec.pixel_format == PixelFormat.of_values("uint8", 3)
    for same in (pixels.transpose(2, 0, 1), torch.from_numpy(pixels)):
        np.testing.assert_array_equal(fit(same).render(), fitted.render())
    tensor = torch.rand(20, 24, requires_grad=True)
    for dtype in (torch.float64, torch.bfloat16):
        assert fit(tensor.to(dtype)).render().shape == (1, 20, 24)


def test_preset_and_target_are_settings_by_other_names() -> None:
    fitted = fit(noise(20, 24), preset="fast", target_psnr=30, pyramid="laplacian")
    same = {"experiment": "fast", "fitting.target_psnr": 30, "pyramid": "laplacian"}
    np.testing.assert_array_equal(fitted.render(), fit(noise(20, 24), **same).render())


def test_axes_decide_what_an_array_is() -> None:
    array = noise(9, 11, 10)
    assert fit(array, axes="DHW").spec.sides == (9, 11, 10)
    assert fit(array, image={"axes": "CWH", "crop_px": 7}).render().shape == (9, 7, 7)


def test_a_terminal_shows_what_was_understood_and_a_bar_unless_silenced(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = (255 * noise(20, 24, 3)).astype(np.uint8)
    fit(image)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(rich.console.Console, "is_terminal", True)
    fit(image, progress=False)
    assert capsys.readouterr().out == ""
    fit(image)
    shown = capsys.readouterr().out
    assert shown.startswith("array: 24x20, 3 channels, uint8, range 0-255\n")
    assert "\x1b[?25l" in shown  # the cursor is hidden
    assert re.search(r"\d of 9 blocks miss the bound of 41.0 dB .*there\n$", shown)
    fit(image, target_psnr=1)
    assert "miss the bound" not in capsys.readouterr().out


def test_options_are_chosen_by_name_and_fields_set_by_mappings() -> None:
    model = {"width": [6, 4], "depth": 1}
    spec = fit(noise(20, 24), activation="gaussian", storage="float16", model=model).spec
    assert isinstance(spec.storage, Float16Storage)
    assert all(isinstance(one.model.activation, Gaussian) for one in spec.models)
    assert [(one.model.width, one.model.depth) for one in spec.models] == [(6, 1), (4, 1)]


def test_components_may_be_objects() -> None:
    optimizer = partial(torch.optim.RAdam, lr=0.02)
    spec = fit(
        noise(20, 24), activation=Sine(0.3), pyramid=LaplacianPyramid(2), optimizer=optimizer
    ).spec
    assert spec.pyramid == LaplacianPyramid(2)
    assert {one.model.activation for one in spec.models} == {Sine(0.3)}
    assert compose_settings({"optimizer": optimizer}).optimizer.lr == 0.02
    model = BlockMLP(CosineEncoding(3), Gaussian(0.2), width=6, depth=1)
    (found,) = {one.model for one in fit(noise(20, 24), model=model).spec.models}
    assert (found.width, found.depth, found.activation) == (6, 1, Gaussian(0.2))


def test_experiment_is_chosen_and_numbers_of_numpy_are_numbers() -> None:
    settings = {"experiment": "paper", "weights": {"gain": 0.7}, "patch_size": np.int64(8)}
    config = compose_settings(settings)
    assert (config.activation.omega, config.weights.gain, config.patch_size) == (30, 0.7, 8)


def test_works_inside_a_program_that_uses_hydra() -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        before = compose("config")
        compose_settings({"patch_size": 8})
        assert compose("config") == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patch_size": 0}, ["patch_size=0:", "2 to 512"]),
        ({"fitting": {"max_step": 3}}, ["max_step"]),
        ({"pyramid": "gaussian,laplacian"}, ["pyramid"]),
        ({"pyramids": "gaussian"}, ["pyramids=gaussian", "pyramid?"]),
        ({"presett": "fast"}, ["presett=fast", "did you mean preset?"]),
        ({"patch": 9}, ["patch=9", "did you mean patch_size?"]),
        ({"max_step": 9}, ["max_step=9", "did you mean fitting.max_steps?"]),
        ({"activaton": Sine(0.3)}, ["activaton", "did you mean activation?"]),
        ({"pyramid": Sine(0.3)}, ["pyramid._target_=miner.models.activations.Sine", "Pyramid"]),
        ({"activation": Sine(-1.0)}, ["activation.a=-1.0"]),
        ({"target_psnr": 45, "fitting": {"max_mse": 1e-5}}, ["only one can be set"]),
        ({"target_psnr": 45, "fitting.target_psnr": 40}, ["fitting.target_psnr: is set twice"]),
        ({"target_psnr": 45, "fitting": {"target_psnr": 40}}, ["set twice", "set it once"]),
        ({"preset": "fast", "experiment": "paper"}, ["experiment: is set twice", "preset"]),
        ({"axes": "HW", "image.axes": "WH"}, ["image.axes: is set twice", "axes"]),
        ({"model.width": 5}, ["model.width: is set twice"]),
        ({"target_psnr": -1}, ["fitting.target_psnr=-1", "above 0 dB"]),
        ({"preset": "quick"}, ["experiment=quick", "balanced"]),
        ({"pyramid": 3}, ["pyramid=3", "gaussian, laplacian"]),
        ({"pyramid": None}, ["pyramid=null", "gaussian, laplacian"]),
        ({"fitting": None}, ["fitting"]),
        ({"patch_size": len}, ["patch_size: is an object of builtin_function"]),
        ({"hparams_search": "optuna"}, ["hparams_search", "leave it out"]),
        ({"capacity": "by_size"}, ["capacity=by_size", "target_error", "uniform"]),
        ({"sizing": {"least": 4}}, ["sizing.least=4: is now capacity.min_width=4"]),
        ({"image": "moon"}, ["image: has no effect", "leave it out"]),
        ({"image": {"path": "a.png"}}, ["image.path: has no effect"]),
        ({"foo": len}, ["foo: there is no such setting"]),
        ({"image": {"crop_px": 0}}, ["image.crop_px=0", "at least 1"]),
        ({"trainer": {"accelerator": "cuda"}}, ["trainer", "leave it out"]),
    ],
    ids=str,
)
def test_wrong_setting_is_refused(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        fit(noise(20, 24), **settings)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (noise(5), ["(5,)", "HW, HWC or CHW"]),
        (noise(1, 3, 20, 24), ["(1, 3, 20, 24)", "CDHW", "axes='CDHW'", "give one image"]),
        (noise(3, 0, 24), ["24 x 0", "empty"]),
        (np.zeros((20, 24), complex), ["complex"]),
        (np.full((20, 24), "a"), ["<U1", "real numbers"]),
        (np.full((20, 24), np.nan), ["holds no data: all pixels are NaN"]),
        ("nothing.png", ["'nothing.png' does not exist"]),
    ],
)
def test_wrong_array_is_refused(array: np.ndarray, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        fit(array)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("device", ["gpu", "meta", 0])
def test_device_that_cannot_be_used_is_refused(device: Any) -> None:
    with pytest.raises(ConfigError, match=f"device={device}: must be cpu or cuda"):
        fit(noise(9, 9), device=device)


@pytest.mark.parametrize(
    "arguments",
    [{"device": torch.device("cpu"), "callbacks": None}, {"device": None, "callbacks": Callback()}],
)
def test_devices_and_callbacks_may_be_objects_or_none(arguments: dict[str, Any]) -> None:
    assert fit(noise(9, 9), **arguments).render().shape == (1, 9, 9)


def test_saved_representation_renders_the_same(tmp_path: Path) -> None:
    fitted = fit(noise(3, 20, 24))
    folder = fitted.save(tmp_path / "new" / "representation")
    for level in (0, 1):
        assert np.array_equal(miner.load(folder).render(level), fitted.render(level))
    assert np.array_equal(miner.load(str(tmp_path / "new")).render(), fitted.render())


def test_report_is_saved_and_goes_with_what_it_is_of(tmp_path: Path) -> None:
    fitted, folder = fit(noise(20, 24)), tmp_path / "representation"
    loaded = miner.load(fitted.save(folder))
    assert loaded.psnr_db == pytest.approx(fitted.psnr_db) and repr(loaded) == repr(fitted)
    fitted.to_module().representation().save(folder)
    assert miner.load(folder).report is None


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "bool", "float64"])
def test_the_array_that_was_fitted_is_scored(dtype: str) -> None:
    array = (1000 * noise(20, 24, 3) - (300 if dtype == "int16" else 0)).astype(dtype)
    fitted = fit(array)
    for given in (array, array.transpose(2, 0, 1)):
        assert fitted.score(given)["psnr_db"] == pytest.approx(fitted.psnr_db, abs=1e-3)


def test_result_has_its_report() -> None:
    array = noise(3, 20, 24)
    fitted = fit(array)
    assert fitted.report is not None and fitted.report["n_parameters"] == fitted.n_parameters
    mse = np.mean((fitted.render() - array) ** 2)
    expected = 10 * np.log10(np.ptp(array) ** 2 / mse)  # over the data's range
    assert fitted.psnr_db == pytest.approx(expected, abs=1e-3)
    assert f"PSNR {fitted.psnr_db:.2f} dB" in repr(fitted)


def test_module_lists_its_public_names() -> None:
    assert miner.__all__ == ["Representation", "fit", "load"]
    assert {*miner.__all__, "__doc__"} <= set(dir(miner))
    assert not {"os", "sys", "Any", "TYPE_CHECKING", "import_module"} & set(dir(miner))
    with pytest.raises(AttributeError, match="'train'"):
        miner.train  # noqa: B018
