"""MINER in a notebook: arrays in, a representation out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning import Callback

import miner
from miner.api import compose_settings
from miner.config.build import CONF_FOLDER
from miner.models.activations import Gaussian
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
    rendered = fit(array).render()
    assert rendered.shape == shape
    rendered[:] = 0
    assert np.array_equal(array, before)


@pytest.mark.parametrize("convert", [np.float32, np.ndarray.tolist, torch.from_numpy, np.fliplr])
def test_all_kinds_of_arrays_are_fitted(convert: Callable[[np.ndarray], Any]) -> None:
    assert fit(convert(noise(20, 24))).render().shape == (1, 20, 24)


def test_options_are_chosen_by_name_and_fields_set_by_mappings() -> None:
    model = {"width": [6, 4], "depth": 1}
    spec = fit(noise(20, 24), activation="gaussian", storage="float16", model=model).spec
    assert isinstance(spec.storage, Float16Storage)
    assert all(isinstance(one.model.activation, Gaussian) for one in spec.models)
    assert [(one.model.width, one.model.depth) for one in spec.models] == [(6, 1), (4, 1)]


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
        ({"pyramid": 3}, ["pyramid=3", "gaussian, laplacian"]),
        ({"pyramid": None}, ["pyramid=null", "gaussian, laplacian"]),
        ({"fitting": None}, ["fitting"]),
        ({"patch_size": len}, ["patch_size: is an object of builtin_function"]),
        ({"hparams_search": "optuna"}, ["hparams_search", "leave it out"]),
        ({"capacity": "by_size"}, ["capacity=by_size", "target_error", "uniform"]),
        ({"sizing": {"least": 4}}, ["sizing.least=4: is now capacity.min_width=4"]),
        ({"image": "moon"}, ["image", "leave it out"]),
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
        (noise(5), ["(5,)", "(C, H, W)"]),
        (noise(1, 2, 3, 4, 5), ["(1, 2, 3, 4, 5)", "(C, D, H, W)"]),
        (noise(3, 0, 4), ["(3, 0, 4)", "at least one"]),
        (np.zeros((20, 24), np.uint8), ["uint8", "array / 255"]),
        (np.zeros((20, 24), complex), ["complex"]),
        (np.full((20, 24), "a"), ["<U1", "floats"]),
        (noise(20, 24) + 0.5, ["1.4", "[0, 1]"]),
        (noise(20, 24) - 1, ["-0.9", "[0, 1]"]),
        (np.full((20, 24), np.nan), ["nan", "[0, 1]"]),
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


def test_result_has_its_report() -> None:
    array = noise(3, 20, 24)
    fitted = fit(array)
    assert fitted.report is not None and fitted.report["n_parameters"] == fitted.n_parameters
    mse = np.mean((fitted.render() - array) ** 2)
    assert fitted.psnr_db == pytest.approx(-10 * np.log10(mse), abs=1e-3)
    assert f"PSNR {fitted.psnr_db:.2f} dB" in repr(fitted)


def test_module_lists_its_public_names() -> None:
    assert miner.__all__ == ["Representation", "fit", "load"]
    assert {*miner.__all__, "__doc__"} <= set(dir(miner))
    with pytest.raises(AttributeError, match="'train'"):
        miner.train  # noqa: B018
