"""Jobs are the same when their settings and their image's content are."""

import os
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from runs import Compose, save_picture

from miner.config.fingerprint import job_folder, job_hash


def as_image(path: Path | str) -> str:
    return f"image.path='{path}'"


def test_hash_is_of_eight_hexadecimal_digits(tiny_config: Compose) -> None:
    assert re.fullmatch("[0-9a-f]{8}", job_hash(tiny_config()))


def test_hash_is_the_same_in_every_process(tiny_config: Compose) -> None:
    config = tiny_config("image=moon", "image.path=sample:moon")
    assert job_hash(config) == job_hash(OmegaConf.create(OmegaConf.to_yaml(config)))


def test_order_of_overrides_does_not_matter(tiny_config: Compose) -> None:
    assert job_hash(tiny_config("seed=1", "model.depth=2")) == job_hash(
        tiny_config("model.depth=2", "seed=1")
    )


@pytest.mark.parametrize("spelling", ["./picture.png", "sub/../picture.png", "~/picture.png"])
def test_spelling_of_the_path_does_not_matter(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert job_hash(tiny_config(as_image(spelling))) == job_hash(tiny_config())


def test_folder_of_the_image_does_not_matter(tmp_path: Path, tiny_config: Compose) -> None:
    (tmp_path / "elsewhere").mkdir()
    copied = save_picture(tmp_path / "elsewhere" / "picture.png")
    assert job_hash(tiny_config(as_image(copied))) == job_hash(tiny_config())


@pytest.mark.parametrize(
    "telling", ["logger=[wandb,csv]", "logger=tensorboard", "logger=none", "objective=psnr_at_bits"]
)
def test_what_is_told_of_a_job_does_not_matter(tiny_config: Compose, telling: str) -> None:
    assert job_hash(tiny_config(telling)) == job_hash(tiny_config())


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "image.crop_px=12",
        "image.max_pixels=1000",
        "backend=eager",
        "storage=int8",
        "pyramid=laplacian",
        "fitting.max_mse=1e-3",
        "trainer=auto",
    ],
)
def test_every_setting_matters(tiny_config: Compose, change: str) -> None:
    assert job_hash(tiny_config(change)) != job_hash(tiny_config())


def test_value_counts_not_where_it_comes_from(tiny_config: Compose) -> None:
    same = tiny_config("patch_size=${fitting.max_steps}", "fitting.max_steps=3", "seed=2")
    direct = tiny_config("patch_size=3", "seed=2")
    assert job_hash(same) == job_hash(direct)


def test_name_of_the_image_matters(tmp_path: Path, tiny_config: Compose) -> None:
    other = save_picture(tmp_path / "other.png")
    assert job_hash(tiny_config(as_image(other))) != job_hash(tiny_config())


def test_samples_differ(tiny_config: Compose) -> None:
    moon, camera = (tiny_config(f"image.path=sample:{name}") for name in ("moon", "camera"))
    assert job_hash(moon) != job_hash(camera)


def test_changed_content_is_another_job(tiny_config: Compose, picture: Path) -> None:
    config, before = tiny_config(), picture.stat()
    first = job_hash(config)
    content = bytearray(picture.read_bytes())
    content[-20] ^= 1
    picture.write_bytes(content)
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert job_hash(config) != first
    content[-20] ^= 1
    picture.write_bytes(content)
    assert job_hash(config) == first


def test_image_that_went_away_still_has_a_hash(tiny_config: Compose, picture: Path) -> None:
    config = tiny_config()
    picture.unlink()
    assert re.fullmatch("[0-9a-f]{8}", job_hash(config))


def test_new_job_is_named_by_number_and_hash(tmp_path: Path, tiny_config: Compose) -> None:
    config = tiny_config()
    assert job_folder(str(tmp_path), 7, _root_=config) == f"7-{job_hash(config)}"


@pytest.mark.parametrize("number", ["0", "31"])
def test_known_job_keeps_its_folder(tmp_path: Path, tiny_config: Compose, number: str) -> None:
    config = tiny_config()
    (tmp_path / f"{number}-{job_hash(config)}").mkdir()
    assert job_folder(str(tmp_path), 7, _root_=config) == f"{number}-{job_hash(config)}"


def test_folder_of_another_job_is_not_taken(tmp_path: Path, tiny_config: Compose) -> None:
    (tmp_path / f"7-{job_hash(tiny_config('seed=1'))}").mkdir()
    config = tiny_config()
    assert job_folder(str(tmp_path), 7, _root_=config) == f"7-{job_hash(config)}"


def test_odd_name_of_a_sweep_folder_is_no_pattern(tmp_path: Path, tiny_config: Compose) -> None:
    config, odd = tiny_config(), tmp_path / "[a]*?"
    (odd / f"3-{job_hash(config)}").mkdir(parents=True)
    assert job_folder(str(odd), 7, _root_=config) == f"3-{job_hash(config)}"
