"""Jobs are the same when their settings and their image's content are."""

import os
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from runs import Compose, save_picture

from miner.config.fingerprint import fit_identity, job_folder, job_hash


def test_hash_is_eight_hexadecimal_digits_in_every_process(tiny_config: Compose) -> None:
    config = tiny_config("image=moon", "image.path=sample:moon")
    assert re.fullmatch("[0-9a-f]{8}", job_hash(config))
    assert job_hash(config) == job_hash(OmegaConf.create(OmegaConf.to_yaml(config)))


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        (["seed=1", "model.depth=2"], ["model.depth=2", "seed=1"]),
        (["patch_size=${fitting.max_steps}"], ["patch_size=3"]),
    ],
)
def test_order_and_spelling_do_not_matter(
    tiny_config: Compose, overrides: list[str], same: list[str]
) -> None:
    assert job_hash(tiny_config(*overrides)) == job_hash(tiny_config(*same))


@pytest.mark.parametrize(
    "change",
    [
        *("logger=[wandb,csv]", "objective=psnr_at_bits", "callbacks=none", "tags=[a]"),
        *("trainer=auto", "trainer.devices=2", "trainer.profiler=simple", "task_name=other"),
        *("paths.log_dir=elsewhere", "extras.print_config=true", "debug=profiler"),
        *("++callbacks.mine._target_=a.B", "++metrics.mine._target_=a.B", "+of_local=1"),
        *("++trainer.fast_dev_run=false", "++trainer.fast_dev_run=0"),
        *("fitting.in_memory_mib=1", "fitting.scratch_dir=/tmp"),
    ],
)
def test_what_does_not_change_the_result_is_left_out(tiny_config: Compose, change: str) -> None:
    one, other = (tiny_config(*more, "fitting.max_steps=3") for more in ((), (change,)))
    assert job_hash(one) == job_hash(other)
    assert fit_identity(one, "", "cpu") == fit_identity(other, "", "cpu")


@pytest.mark.parametrize(
    "path", ["./picture.png", "sub/../picture.png", "~/picture.png", "sub/picture.png"]
)
def test_folder_of_the_image_does_not_matter(
    tmp_path: Path, tiny_config: Compose, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "sub").mkdir()
    save_picture(tmp_path / "sub" / "picture.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert job_hash(tiny_config(f"image.path='{path}'")) == job_hash(tiny_config())


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
        "++trainer.fast_dev_run=true",
        "++trainer.fast_dev_run=2",
    ],
)
def test_every_setting_matters(tiny_config: Compose, change: str) -> None:
    assert job_hash(tiny_config(change)) != job_hash(tiny_config())


def test_fits_of_one_chunk_are_the_same_however_they_were_asked_for(tiny_config: Compose) -> None:
    one, other = (tiny_config(f"++trainer.fast_dev_run={value}") for value in ("true", "1"))
    assert job_hash(one) == job_hash(other)
    assert fit_identity(one, "", "cpu") != fit_identity(tiny_config(), "", "cpu")


def test_name_of_the_image_matters(tmp_path: Path, tiny_config: Compose) -> None:
    paths = [save_picture(tmp_path / "other.png"), "sample:moon", "sample:camera"]
    hashes = {job_hash(tiny_config(f"image.path='{path}'")) for path in paths}
    assert len(hashes | {job_hash(tiny_config())}) == 4


def test_changed_content_is_another_job(tiny_config: Compose, picture: Path) -> None:
    config, content, before = tiny_config(), picture.read_bytes(), picture.stat()
    hashes = []
    for trailer in (b"", b"x", b""):
        picture.write_bytes(content + trailer)
        os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns + len(hashes)))
        hashes.append(job_hash(config))
    assert hashes[0] == hashes[2] != hashes[1]
    picture.unlink()
    assert re.fullmatch("[0-9a-f]{8}", job_hash(config))


@pytest.mark.parametrize("folder", ["sweep", "[a]*?"])
@pytest.mark.parametrize(("number", "expected"), [(None, 7), (0, 0), (31, 31)])
def test_known_job_keeps_its_folder_and_a_new_one_is_named_by_number_and_hash(
    tmp_path: Path, tiny_config: Compose, folder: str, number: int | None, expected: int
) -> None:
    sweep, config = tmp_path / folder, tiny_config()
    (sweep / f"7-{job_hash(tiny_config('seed=1'))}").mkdir(parents=True)  # of another job
    if number is not None:
        (sweep / f"{number}-{job_hash(config)}").mkdir()
    assert job_folder(str(sweep), 7, _root_=config) == f"{expected}-{job_hash(config)}"
