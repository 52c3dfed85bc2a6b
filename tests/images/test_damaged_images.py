"""Damaged files of every kind open or are refused in a line; scripts/fuzz_images.py tries more."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from fuzz_images import damaged, outcome
from image_corpus import Files, sound_images

from miner.signals.scratch import Scratch

KINDS = ["png", "jpeg", "tiff", "webp", "avif", "gif", "exr", "npy", "zarr"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Files]]:
    return sound_images(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("kind", KINDS)
def test_sound_files_open(
    tmp_path: Path, scratch: Scratch, sound: dict[str, list[Files]], kind: str
) -> None:
    for number, files in enumerate(sound[kind]):
        (tmp_path / str(number)).mkdir()
        assert outcome(files, tmp_path / str(number), scratch) == "image"


@pytest.mark.parametrize("number", range(len(KINDS)), ids=KINDS)
@pytest.mark.filterwarnings("ignore")  # libraries may warn of what is damaged
def test_damaged_files_open_or_are_refused(
    tmp_path: Path, scratch: Scratch, sound: dict[str, list[Files]], number: int
) -> None:
    for seed in range(number, 12 * len(KINDS), len(KINDS)):
        kind, files = damaged(seed, sound)
        assert kind == KINDS[number]
        (tmp_path / str(seed)).mkdir()
        assert outcome(files, tmp_path / str(seed), scratch) in ("image", "refused")


def test_damage_is_repeatable(sound: dict[str, list[Files]]) -> None:
    assert [damaged(seed, sound) for seed in range(20)] == [
        damaged(seed, sound) for seed in range(20)
    ]
