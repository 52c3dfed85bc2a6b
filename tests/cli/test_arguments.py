"""Arguments as people type them become those that Hydra reads."""

from pathlib import Path

import pytest

from miner.cli.arguments import expand_arguments
from miner.support.errors import ConfigError


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two files and two folders, in which the arguments are typed."""
    for name in ("photo.jpg", "b (1).png", "a=b.png"):
        (tmp_path / name).touch()
    for name in ("mine", "mine=1", "array.zarr"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["photo.jpg"], ["image.path=photo.jpg"]),
        (["array.zarr", "seed=1"], ["seed=1", "image.path=array.zarr"]),
        (["a=b.png", "mine=1"], ["mine=1", "image.path=a=b.png"]),
        (["photo.jpg", "--cfg", "job"], ["--cfg", "job", "image.path=photo.jpg"]),
        (["seed=1", "--config-dir", "mine"], ["--config-dir", "mine", "seed=1"]),
        (["seed=0,1", "-m", "mine"], ["-m", "seed=0,1", "image.path=mine"]),
        (["-m", "photo.jpg", "b (1).png"], ["-m", "image.path='photo.jpg','b (1).png'"]),
        (["missing.jpg", "seed=photo.jpg"], ["missing.jpg", "seed=photo.jpg"]),
        (["logger=null"], ["logger=none"]),
        (["logger=[]"], ["logger=none"]),
        (["-m", "logger=null,csv"], ["-m", "logger=none,csv"]),
        (["logger=[wandb,csv]"], ["logger=[wandb,csv]"]),
        (["experiment=null", "debug=Null"], ["experiment=[]", "debug=[]"]),
        (["-m", "experiment=null,fast"], ["-m", "experiment=[],fast"]),
        (["pyramid=null", "pyramid=False,3"], ["pyramid='null'", "pyramid='False','3'"]),
        (["image.crop_px=null", "+seed=null"], ["image.crop_px=null", "+seed=null"]),
    ],
    ids=str,
)
def test_flags_come_first_and_images_and_null_are_written_in_full(
    typed: list[str], read: list[str]
) -> None:
    assert expand_arguments(typed) == read


def test_one_run_fits_one_image() -> None:
    with pytest.raises(ConfigError, match=r"^photo\.jpg b \(1\)\.png: .* add -m"):
        expand_arguments(["photo.jpg", "b (1).png"])
