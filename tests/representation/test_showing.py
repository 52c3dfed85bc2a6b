"""A representation as an array, as a sentence and as a picture; its numbers and its report."""

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from samples import MANIFEST, SHOWN, STORAGES, make_spec, random_representation

from miner.images.pixel_format import PixelFormat
from miner.representation import Representation, load
from miner.representation.spec import Manifest
from miner.representation.storage import Storage
from miner.support.errors import RepresentationError
from miner.support.run_files import write_report

VOLUME = random_representation(make_spec((5, 9, 6)))
RENDERED = SHOWN.render()


def test_numpy_takes_it_for_the_rendered_array() -> None:
    assert np.array_equal(np.asarray(SHOWN), RENDERED)
    assert np.asarray(SHOWN, dtype=np.float64).dtype == np.float64
    assert np.mean(SHOWN) == RENDERED.mean()  # type: ignore[call-overload]
    assert SHOWN.shape == RENDERED.shape == (2, 13, 9)
    with pytest.raises(ValueError, match="copy=False"):
        SHOWN.__array__(copy=False)


@pytest.mark.parametrize(
    "index",
    [
        np.s_[:],
        np.s_[:, 3:8, ::2],
        np.s_[1],
        np.s_[-1, ..., 2],
        np.s_[..., ::-1],
        np.s_[::-1, 12:2:-3, -4],
        np.s_[0, np.int64(12), 8],
        np.s_[:, 5:5],
        np.s_[:, 40:, 2],
        np.s_[...],
    ],
    ids=str,
)
def test_parts_are_those_of_the_array(index: Any) -> None:
    found = SHOWN[index]
    np.testing.assert_array_equal(found, RENDERED[index])
    assert np.shape(found) == RENDERED[index].shape
    assert found.dtype == np.float32


def test_parts_of_a_volume_and_its_channels_in_turn() -> None:
    np.testing.assert_array_equal(VOLUME[1, 2:4, ::3, -2], VOLUME.render()[1, 2:4, ::3, -2])
    assert np.array_equal(np.stack(list(SHOWN)), RENDERED)


def test_only_the_part_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    regions: list[Any] = []
    reconstruct = Representation.reconstruct

    def noted(self: Representation, level: int, region: Any, device: Any) -> Any:
        regions.append((level, region))
        return reconstruct(self, level, region, device)

    monkeypatch.setattr(Representation, "reconstruct", noted)
    SHOWN[:, 11:4:-2, 3]
    assert regions[0] == (0, ((5, 12), (3, 4)))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (np.s_[2], "index 2 is out of bounds for axis 0 with size 2"),
        (np.s_[:, -14], "index -14 is out of bounds"),
        (np.s_[:, None], "None.*: must be whole numbers, slices and ... for 3 axes"),
        (np.s_[:, [1, 2]], r"\[1, 2\].*: must be .*; np.asarray\(rep\) takes others"),
        (np.s_[:, 1.0], "1.0.*: must be"),
        (np.s_[0, 0, 0, 0], r"\(0, 0, 0, 0\): must be"),
        (np.s_[..., 0, ...], "must be"),
    ],
    ids=str,
)
def test_other_indices_are_refused(index: Any, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        SHOWN[index]


def test_repr_says_what_there_is() -> None:
    blocks = " + ".join(str(len(SHOWN.active_blocks(level))) for level in (1, 0))
    bits = 32 * SHOWN.n_parameters / (13 * 9)
    assert repr(SHOWN) == (
        f"Representation({SHOWN.spec.pixel_format.describe((13, 9))}, levels of {blocks} blocks, "
        f"coarse to fine, of 4 pixels a side, {SHOWN.n_parameters} parameters, "
        f"{bits:.3f} bits a pixel)"
    )
    assert repr(Representation(SHOWN.spec, SHOWN.shards, {"psnr_db": 31.456})).endswith(
        ", PSNR 31.46 dB)"
    )


def decoded(png: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return picture


def test_a_notebook_gets_the_picture() -> None:
    spec = replace(make_spec((13, 9)), n_channels=1, pixel_format=PixelFormat.of_values("uint8", 1))
    shown = random_representation(spec)
    png = shown._repr_png_()
    assert png is not None
    picture = decoded(png)
    assert picture.shape == (79 * 13, 79 * 9, 3)
    assert np.array_equal(picture[::79, ::79, 0], np.rint(255 * shown.render()[0]))
    html = shown._repr_html_()
    assert repr(shown) in html
    found = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert found and base64.b64decode(found[1]) == png


def test_a_large_picture_is_of_a_coarser_level_and_a_volume_has_none() -> None:
    large = Representation(make_spec((5000, 100), 4), {})
    png = large._repr_png_()
    assert png is not None and decoded(png).shape == (1024, 20, 3)
    assert VOLUME._repr_png_() is None
    assert VOLUME._repr_html_() == f"<p>{VOLUME!r}</p>"


@pytest.mark.parametrize("storage", STORAGES)
def test_bits_are_those_of_the_stored_tensors(storage: Storage) -> None:
    shown = random_representation(make_spec((13, 9), storage=storage))
    shards = [shard for found in shown.shards.values() for shard in found]
    tensors = [t for shard in shards for stored in shard.stored.values() for t in stored.values()]
    assert shown.bits_per_pixel == 8 * sum(t.numel() * t.itemsize for t in tensors) / (13 * 9)


@pytest.mark.parametrize("inner", ["", "representation"])
def test_the_report_of_the_run_is_loaded(folder: Path, inner: str) -> None:
    assert load(folder).report is None
    assert load(folder).psnr_db is None
    write_report(folder.parent, {"psnr_db": 40.25})
    assert load(folder.parent / inner).report is None  # it was saved, not fitted by that run
    replace(Manifest.read(folder), fit={"seed": 1}).write(folder)
    loaded = load(folder.parent / inner)
    assert loaded.report is not None and loaded.report["report_version"] == 2
    assert loaded.psnr_db == 40.25
    random_representation(make_spec((40, 40))).save(folder)
    assert load(folder.parent / inner).report is None
    replace(Manifest.read(folder), fit={"seed": 1}).write(folder)
    (folder.parent / "report.json").write_text("{")
    assert load(folder).report is None


def test_saving_over_another_result_leaves_no_file_of_it(tmp_path: Path) -> None:
    large, small = random_representation(make_spec((40, 40))), SHOWN
    (tmp_path / "level09-chunk00009.safetensors").write_text("not named by a manifest")
    alone = {path.name for path in small.save(tmp_path / "alone").iterdir()}
    small.save(large.save(tmp_path))
    found = {path.name for path in tmp_path.iterdir()}
    assert found == alone | {"alone", "level09-chunk00009.safetensors"}
    assert np.array_equal(load(tmp_path).render(), RENDERED)


def test_saving_over_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"format": "of another program"}')
    with pytest.raises(RepresentationError, match="not that of a MINER representation"):
        SHOWN.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_saving_into_its_own_folder_keeps_it(folder: Path) -> None:
    loaded = load(folder)
    loaded.save(folder)
    assert np.array_equal(load(folder).render(), RENDERED)
