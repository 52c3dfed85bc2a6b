"""Figures, judged by the pixels of the files."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from miner.visual.blocks import LevelBlocks, blocks_picture, draw_blocks
from miner.visual.display import enlarge_to_screen, level_colour, reduce_to_side, to_display
from miner.visual.plots import LevelCurve, draw_curves, draw_error, square_error


def grey_image(height: int, width: int, channels: int = 3) -> NDArray[np.float32]:
    return np.full((channels, height, width), 0.5, dtype=np.float32)


def read_png(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.ascontiguousarray(picture[..., ::-1]).astype(np.uint8)


def brightness(path: Path) -> NDArray[np.int64]:
    return np.asarray(read_png(path).sum(axis=-1, dtype=np.int64))


def picture_part(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Cut the picture out of a figure: centred, and the first thing from the top not white."""
    figure = read_png(path)
    left = (figure.shape[1] - width) // 2
    top = int(np.argmax((figure[:, left + width // 2] < 250).any(axis=-1)))
    return figure[top : top + height, left : left + width]


def is_level(picture: NDArray[np.uint8], level: int) -> NDArray[np.bool_]:
    return np.asarray((picture == tuple(bytes.fromhex(level_colour(level)[1:]))).all(axis=-1))


def boxes(*corners: tuple[int, int, int, int]) -> NDArray[np.int64]:
    return np.array(corners, dtype=np.int64).reshape(-1, 4)


def curve(level: int, psnr_db: list[float], start: int = 0) -> LevelCurve:
    count = np.arange(start, start + len(psnr_db))
    return LevelCurve(level, count, count / 7, 100 * count, np.array(psnr_db))


def test_display_of_grey_is_grey() -> None:
    picture = to_display(np.array([[[0.0, 0.5, 1.0]]], dtype=np.float32))
    assert picture.tolist() == [[[0] * 3, [128] * 3, [255] * 3]]


@pytest.mark.parametrize("channels", [3, 5])
def test_display_shows_the_first_three_channels_as_rgb(channels: int) -> None:
    image = np.linspace(0, 1, channels, dtype=np.float32).reshape(-1, 1, 1)
    assert to_display(image)[0, 0].tolist() == np.rint(255 * image[:3, 0, 0]).tolist()


@pytest.mark.parametrize("channels", [2, 4])
def test_display_shows_opaque_colour_and_hides_transparent_colour(channels: int) -> None:
    image = np.zeros((channels, 128, 128), dtype=np.float32)
    image[-1, :, 64:] = 1
    picture = to_display(image)
    assert set(np.unique(picture[:, :64])) == {204, 255}  # the checker
    assert not picture[:, 64:].any()


def test_display_clips_and_survives_nan() -> None:
    image = np.array([[[-1.0, 2.0, math.nan, math.inf]]], dtype=np.float32)
    assert to_display(image)[0, :, 0].tolist() == [0, 255, 0, 255]


def test_display_rejects_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        to_display(np.zeros((4, 4), dtype=np.float32))


SCREEN = {(8, 8): (1024, 1024), (600, 300): (1200, 600), (20, 2000): (20, 2000)}  # fmt: skip


@pytest.mark.parametrize("shape", SCREEN)
def test_screen_size(shape: tuple[int, int]) -> None:
    assert enlarge_to_screen(np.zeros(shape, dtype=np.float32)).shape == SCREEN[shape]


def test_large_pictures_are_reduced_by_area_means() -> None:
    stripes = np.tile(np.array([0, 200], dtype=np.uint8), (4, 2048))
    assert np.unique(reduce_to_side(stripes, 2048)).tolist() == [100]


def test_blocks_are_outlined_where_active_and_nowhere_else(tmp_path: Path) -> None:
    draw_blocks(
        grey_image(64, 64),
        [LevelBlocks(1, boxes((0, 0, 32, 32))), LevelBlocks(0, boxes((16, 0, 32, 16)))],
        tmp_path / "blocks.png",
        (64, 64),
    )
    picture = picture_part(tmp_path / "blocks.png", 1024, 1024)
    coarse, fine = is_level(picture, 1), is_level(picture, 0)
    assert coarse[0, :512].all()
    assert coarse[:512, 511].all()
    assert not coarse[512:].any()
    assert not coarse[:, 512:].any()
    assert fine.any()
    assert not fine[:, :256].any()
    assert not fine[256:].any()


def test_untouched_picture_is_the_dimmed_image_pixel_for_pixel(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((1, 32, 32), dtype=np.float32)
    draw_blocks(image, [LevelBlocks(0, boxes())], tmp_path / "blocks.png", (32, 32))
    picture = picture_part(tmp_path / "blocks.png", 1024, 1024)
    expected = to_display(image).repeat(32, axis=0).repeat(32, axis=1) / 2
    assert np.abs(picture - expected).max() <= 1


def test_outlines_that_share_a_border_lie_side_by_side(tmp_path: Path) -> None:
    levels = [LevelBlocks(j, boxes((0, 0, 32 << j, 32 << j))) for j in range(4)]
    draw_blocks(grey_image(256, 256), levels, tmp_path / "blocks.png", (256, 256))
    row = picture_part(tmp_path / "blocks.png", 1024, 1024)[64:65]
    starts = [int(np.argmax(is_level(row, level))) for level in (3, 2, 1, 0)]
    assert starts == [0, 3, 6, 9]


@pytest.mark.parametrize("shape", [(8, 8), (20, 2000), (2000, 20), (1, 1), (1, 300)])
def test_blocks_of_odd_images(shape: tuple[int, int], tmp_path: Path) -> None:
    height, width = shape
    levels = [LevelBlocks(1, boxes((0, 0, 64, 64))), LevelBlocks(0, boxes((0, 0, 32, 32)))]
    draw_blocks(grey_image(height, width, 1), levels, tmp_path / "blocks.png", shape)
    figure = read_png(tmp_path / "blocks.png")
    assert is_level(figure, 1).any()
    assert max(figure.shape) < 2400
    assert min(figure.shape[:2]) > 60  # room for the legend


def test_blocks_beyond_the_image_are_cut(tmp_path: Path) -> None:
    levels = [LevelBlocks(0, boxes((32, 32, 64, 64)))]
    draw_blocks(grey_image(40, 40), levels, tmp_path / "b.png", (40, 40))
    drawn = is_level(picture_part(tmp_path / "b.png", 1040, 1040), 0)
    assert drawn[-1, 32 * 26 :].all()
    assert not drawn[: 32 * 26].any()


def test_blocks_of_a_large_image_are_outlined_in_its_preview() -> None:
    preview = np.zeros((100, 50, 3), dtype=np.uint8)
    drawn = blocks_picture(preview, [LevelBlocks(0, boxes((80, 160, 160, 320)))], (1600, 800))
    rows, columns = np.nonzero(is_level(drawn, 0))
    assert [rows.min(), rows.max(), columns.min(), columns.max()] == [10, 19, 5, 9]
    assert len(rows) == 2 * 10 + 2 * 3


def test_boxes_are_outlined_as_opencv_draws_rectangles() -> None:
    random = np.random.default_rng(0)
    corners = random.integers(0, 60, (40, 2))
    cut = np.concatenate([corners, corners + random.integers(1, 30, (40, 2))], axis=1).clip(0, 64)
    level = LevelBlocks(0, cut)
    expected = np.zeros((64, 64, 3), dtype=np.uint8)
    for x0, y0, x1, y1 in cut.tolist():
        cv2.rectangle(expected, (x0, y0), (x1 - 1, y1 - 1), bytes.fromhex(level_colour(0)[1:]))
    black = np.zeros((64, 64, 3), dtype=np.uint8)
    assert np.array_equal(blocks_picture(black, [level], (64, 64)), expected)


def test_blocks_of_another_shape_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        LevelBlocks(0, np.zeros((3, 2), dtype=np.int64))


def test_error_is_bright_where_it_is_large(tmp_path: Path) -> None:
    reconstruction = grey_image(64, 64)
    reconstruction[:, :32, :32] += 0.1
    draw_error(square_error(grey_image(64, 64), reconstruction), tmp_path / "error.png", 26.0)
    figure = brightness(tmp_path / "error.png")
    middle = figure.shape[1] // 2
    assert figure[300, middle - 200] > 600  # the top of inferno is a light yellow
    assert figure[300, middle + 200] < 20
    assert figure[800, middle - 200] < 20


def test_a_few_outliers_do_not_darken_the_map(tmp_path: Path) -> None:
    reconstruction = grey_image(100, 100) + np.float32(0.01)
    reconstruction[:, 50, 50] = 1
    draw_error(square_error(grey_image(100, 100), reconstruction), tmp_path / "error.png", 39.0)
    figure = brightness(tmp_path / "error.png")
    assert figure[300, 300] > 600


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 2000), (2, 2000, 20), (4, 1, 1)])
def test_error_of_odd_and_perfect_images(shape: tuple[int, int, int], tmp_path: Path) -> None:
    source = np.zeros(shape, dtype=np.float32)
    draw_error(square_error(source, source), tmp_path / "error.png", math.inf)
    assert max(read_png(tmp_path / "error.png").shape) < 2400


def test_nan_counts_as_full_error(tmp_path: Path) -> None:
    reconstruction = grey_image(16, 16)
    reconstruction[:, :8] = math.nan
    draw_error(square_error(grey_image(16, 16), reconstruction), tmp_path / "error.png", math.nan)
    figure = brightness(tmp_path / "error.png")
    assert figure[300, 500] > 600 > 20 > figure[800, 500]


def test_error_of_differing_shapes_is_rejected() -> None:
    with pytest.raises(ValueError, match="same shape"):
        square_error(grey_image(4, 4), grey_image(4, 5))


def test_every_level_has_its_curve_in_both_panels(tmp_path: Path) -> None:
    curves = [curve(1, [10, 20, 22]), curve(0, [25, 30, 31], start=3)]
    draw_curves(curves, tmp_path / "curves.png")
    panels = read_png(tmp_path / "curves.png")[:500]  # above the legend
    for panel in np.array_split(panels, 2, axis=1):
        assert is_level(panel, 0).any()
        assert is_level(panel, 1).any()


def test_a_single_point_is_marked(tmp_path: Path) -> None:
    draw_curves([curve(2, [20.0])], tmp_path / "curves.png")
    assert is_level(read_png(tmp_path / "curves.png")[:500], 2).any()  # above the legend


@pytest.mark.parametrize("psnr", [[], [math.inf], [math.nan, 20, -math.inf, 21]])
def test_curves_leave_out_what_is_not_finite(psnr: list[float], tmp_path: Path) -> None:
    draw_curves([curve(0, psnr)], tmp_path / "curves.png")
    assert read_png(tmp_path / "curves.png").shape[1] == 1500


def test_a_curve_of_ragged_arrays_is_rejected() -> None:
    one, two = np.arange(1), np.arange(2)
    with pytest.raises(ValueError, match=r"\[1, 1, 1, 2\]"):
        LevelCurve(0, one, one / 1, one, two / 1)


def test_a_figure_replaces_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "curves.png").write_text("old")
    draw_curves([curve(0, [20, 21])], tmp_path / "curves.png")
    assert len(list(tmp_path.iterdir())) == 1
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_figure_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, target: Path, **settings: object) -> None:
        target.write_text("half")
        raise OSError("disk full")

    (tmp_path / "curves.png").write_text("old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        draw_curves([curve(0, [20, 21])], tmp_path / "curves.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["curves.png"]
    assert (tmp_path / "curves.png").read_text() == "old"
