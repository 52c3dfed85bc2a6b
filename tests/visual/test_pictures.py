"""Pictures, judged by the pixels of the files."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from miner.visual.display import (
    enlarge_to_screen,
    level_colour,
    reduce_to_side,
    to_display,
    with_legend,
    write_picture,
)
from miner.visual.pictures import (
    blocks_picture,
    draw_blocks,
    draw_curves,
    draw_error,
    error_picture,
)

SQUARE = (64, 64)
BLACK = np.zeros((64, 64, 3), dtype=np.uint8)


def grey_image(height: int, width: int, channels: int = 3) -> NDArray[np.float32]:
    return np.full((channels, height, width), 0.5, dtype=np.float32)


def read_png(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return np.asarray(picture, dtype=np.uint8)


def above_legend(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Cut the picture out of a file with a legend."""
    picture = read_png(path)
    left = (picture.shape[1] - width) // 2
    return picture[:height, left : left + width]


def is_level(picture: NDArray[np.uint8], level: int) -> NDArray[np.bool_]:
    return np.asarray((picture == tuple(bytes.fromhex(level_colour(level)[1:]))).all(axis=-1))


def curve(*points: tuple[int, float], n_refit: int = 0) -> dict[str, list[float]]:
    """The columns of a curve with these levels and qualities, the last points of a refit."""
    names = ("level", "psnr_db", "step", "seconds", "parameters", "refit")
    n_first = len(points) - n_refit
    rows = [(*point, n, n / 7, 100 * n, int(n >= n_first)) for n, point in enumerate(points)]
    return {name: [row[index] for row in rows] for index, name in enumerate(names)}


@pytest.mark.parametrize(
    ("values", "shown"),
    [([0.2], [51, 51, 51]), ([0, 0.4, 1], [0, 102, 255]), ([0, 0.4, 1, 1, 1], [0, 102, 255])],
)
def test_display_shows_grey_or_three_channels(values: list[float], shown: list[int]) -> None:
    assert to_display(np.array(values, dtype=np.float32)[:, None, None])[0, 0].tolist() == shown


@pytest.mark.parametrize("channels", [2, 4])
def test_display_shows_opaque_colour_and_hides_transparent_colour(channels: int) -> None:
    image = np.zeros((channels, 128, 128), dtype=np.float32)
    image[-1, :, 64:] = 1
    picture = to_display(image)
    assert set(np.unique(picture[:, :64])) == {204, 255}  # the checker
    assert not picture[:, 64:].any()


def test_display_clips_and_survives_nan() -> None:
    image = np.array([[[-1.0, 2.0, math.nan, math.inf]]], dtype=np.float32)
    assert to_display(image)[0, :, 0].tolist() == [0, 255, 255, 255]


def test_pictures_are_enlarged_by_a_whole_factor_and_reduced_by_area_means() -> None:
    for height, width, factor in ((8, 8, 128), (600, 300, 2), (20, 2000, 1)):
        enlarged = enlarge_to_screen(np.zeros((height, width), dtype=np.float32))
        assert enlarged.shape == (factor * height, factor * width)
    stripes = np.tile(np.array([0, 200], dtype=np.uint8), (4, 2048))
    assert np.unique(reduce_to_side(stripes, 2048)).tolist() == [100]


def test_legend_has_a_row_of_colour_and_text_for_each_entry() -> None:
    red, blue = (np.array([[colour]], dtype=np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    picture = with_legend(BLACK, [(red, "first"), (blue, "second")])
    assert not picture[:64, (picture.shape[1] - 64) // 2 :][:, :64].any()
    rows = [np.nonzero((picture == colour).all(axis=-1))[0] for colour in (red[0], blue[0])]
    assert 64 < rows[0].max() < rows[1].min()
    for row in rows:
        text = picture[row.min() : row.max(), 60:]
        assert (text < 100).any() and (text == 255).any()


def networks(*rows: list[int]) -> NDArray[np.int16]:
    """The widths of a level's blocks."""
    return np.array(rows, dtype=np.int16)


def blank(height: int, width: int) -> NDArray[np.float32]:
    return np.zeros((height, width), dtype=np.float32)


def test_pixels_have_the_colour_of_the_finest_level_with_a_network_there_or_are_lines() -> None:
    """Blocks of level 0 are too small for lines between them; the last row is cut."""
    random = np.random.default_rng(0)
    widths = [random.integers(0, 2, (-(-10 // 2**j), -(-7 // 2**j))) for j in range(4)]
    drawn = blocks_picture(blank(39, 28), widths, 4)

    def owner(y: int, x: int) -> tuple[int, ...]:
        places = [(j, y // 4 >> j, x // 4 >> j) for j in range(4)]
        own = next((place for place in places if widths[place[0]][place[1:]]), ())
        return own[:1] if own[:1] == (0,) else own

    for y, x in np.ndindex(39, 28):
        nearby = {owner(y, x), owner(min(y + 1, 38), x), owner(y, min(x + 1, 27))}
        if owner(y, x) and len(nearby) == 1:
            assert is_level(drawn[y, x], owner(y, x)[0])
        else:
            assert (drawn[y, x] == 255).all()


def test_a_region_without_a_network_is_blank() -> None:
    drawn = blocks_picture(blank(64, 64), [networks([0, 0], [0, 3]), networks([0])], 32)
    assert is_level(drawn[32:, 32:], 0).all()
    assert (drawn[:32] == 255).all() and (drawn[:, :32] == 255).all()


def test_pixels_without_data_are_blank() -> None:
    values = blank(64, 64)
    values[:, 10:20] = math.nan
    drawn = blocks_picture(values, [networks([0, 0], [0, 0]), networks([5])], 32)
    assert (drawn[:, 10:20] == 255).all() and is_level(drawn[:, 20:], 1).all()


def test_a_wider_network_has_a_stronger_colour_at_every_level() -> None:
    widths = [networks([2, 4, 8, 32]), networks([0, 0])]
    colours = blocks_picture(blank(32, 128), widths, 32)[0, ::32].astype(int)
    assert is_level(colours[3:], 0).all()
    assert (np.diff(255 - colours.min(axis=1)) > 10).all()
    coarse = blocks_picture(blank(32, 128), [networks([0, 0, 0, 32]), networks([2, 0])], 32)
    assert not is_level(coarse[0, 0], 1) and coarse[0, 0].min() > 255 // 2


def test_equal_widths_have_the_colour_of_the_level() -> None:
    drawn = blocks_picture(blank(32, 64), [networks([0, 7]), networks([7])], 32)
    assert is_level(drawn[0, 0], 1) and is_level(drawn[0, -1], 0)


def test_a_white_line_parts_neighbours_that_are_large_enough() -> None:
    def lines(side: int) -> list[int]:
        row = blocks_picture(blank(side, 4 * side), [networks([1, 1, 1, 1])], side)[0]
        return np.flatnonzero((row == 255).all(axis=-1)).tolist()

    assert lines(32) == [31, 63, 95]
    assert lines(4) == []


def test_blocks_cut_by_the_far_edge_keep_their_line_and_width() -> None:
    drawn = blocks_picture(blank(67, 67), [networks([9, 9, 1], [9, 9, 1], [1, 1, 9])], 32)
    assert (drawn[:63, 63] == 255).all() and (drawn[63, :63] == 255).all()
    slivers = drawn[:31, 64:], drawn[64:, :31]
    assert all((one == drawn[0, 66]).all() and not is_level(one, 0).any() for one in slivers)
    assert is_level(drawn[64:, 64:], 0).all()


def test_blocks_smaller_than_a_pixel_of_a_preview_end_with_it() -> None:
    """96 pixels have a preview of two at 1/64, and three blocks."""
    drawn = blocks_picture(blank(2, 2), [np.ones((3, 3), dtype=np.int16)], 0.5)
    assert is_level(drawn, 0).all()


def extent(is_part: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First row, first column, rows and columns of what is more than a bar or text of a legend."""
    rows, columns = (np.flatnonzero(is_part.sum(axis=axis) > 350) for axis in (1, 0))
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("shape", [(60, 90), (90, 60), (40, 80)])
def test_the_map_is_as_large_as_the_image_and_beside_it_or_below_a_wide_one(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    light = np.full((3, *shape), 0.8, dtype=np.float32)
    draw_blocks(light, [np.ones((3, 3), dtype=np.int16)], 32, tmp_path / "blocks.png")
    picture = read_png(tmp_path / "blocks.png")
    image, blocks = extent((picture == 204).all(axis=-1)), extent(is_level(picture, 0))
    assert image[2:] == blocks[2:] == enlarge_to_screen(light[0]).shape
    if shape == (40, 80):
        assert blocks[0] > image[0] + image[2] and blocks[1] == image[1]
    else:
        assert blocks[1] > image[1] + image[3] and blocks[0] == image[0]


def test_the_legend_has_the_shades_of_each_level_that_has_networks(tmp_path: Path) -> None:
    widths = [networks([0, 8], [4, 0]), networks([0]), networks([8])]
    draw_blocks(grey_image(64, 64), widths, 32, tmp_path / "blocks.png")
    legend = read_png(tmp_path / "blocks.png")[1040:]
    rows = [np.flatnonzero(is_level(legend, level).any(axis=1)) for level in range(3)]
    assert rows[2].max() < rows[0].min() and not len(rows[1])
    bars = [np.unique(legend[own[0], :300], axis=0) for own in (rows[2], rows[0])]
    assert [len(bar) - 1 for bar in bars] == [1, 5]  # without white


def test_an_image_without_any_network_has_an_empty_map(tmp_path: Path) -> None:
    draw_blocks(grey_image(64, 64), [networks([0, 0], [0, 0])], 32, tmp_path / "blocks.png")
    assert (read_png(tmp_path / "blocks.png")[10:1000, 1100:2000] == 255).all()


@pytest.mark.parametrize("shape", [(8, 8), (20, 2000), (2000, 20), (1, 1), (1, 300)])
def test_blocks_of_odd_images(shape: tuple[int, int], tmp_path: Path) -> None:
    counts = [tuple(-(-n // side) for n in shape) for side in (32, 64)]
    widths = [np.zeros(counts[0], dtype=np.int16), np.ones(counts[1], dtype=np.int16)]
    draw_blocks(grey_image(*shape, 1), widths, 32, tmp_path / "blocks.png")
    picture = read_png(tmp_path / "blocks.png")
    assert is_level(picture, 1).any()
    assert max(picture.shape) < 2400 and min(picture.shape[:2]) > 60  # with the legend


def test_error_is_bright_where_it_is_large_and_white_where_it_is_unknown(tmp_path: Path) -> None:
    error = np.zeros(SQUARE, dtype=np.float32)
    error[:32, :32] = 0.01
    error[32:, 32:] = math.nan
    draw_error(error, tmp_path / "error.png", 26.0)
    brightness = above_legend(tmp_path / "error.png", 1024, 1024).sum(axis=-1, dtype=int)
    assert brightness[800, 800] == 3 * 255
    assert 600 < brightness[200, 200] < 700  # the top of inferno is a light yellow
    assert brightness[200, 800] == brightness[800, 200] < 20


@pytest.mark.parametrize("shape", [(100, 100), (20, 2000), (2000, 20)])
def test_a_few_outliers_do_not_darken_the_map(tmp_path: Path, shape: tuple[int, int]) -> None:
    error = np.full(shape, 1e-4, dtype=np.float32)
    error[5, 5] = 1
    draw_error(error, tmp_path / "error.png", math.inf)
    picture = read_png(tmp_path / "error.png")
    assert picture.sum(axis=-1, dtype=int)[0, picture.shape[1] // 2] > 600
    assert max(picture.shape) < 2400


def test_a_perfect_image_has_a_black_map(tmp_path: Path) -> None:
    draw_error(np.zeros((1, 1), dtype=np.float32), tmp_path / "error.png", math.inf)
    assert above_legend(tmp_path / "error.png", 1024, 1024).max() < 10


def test_small_error_pictures_have_one_scale_of_colours() -> None:
    errors = np.array([[0, 0.25, 32, 200]], dtype=np.float32) / 255
    brightness = error_picture(errors**2, 320).sum(axis=-1, dtype=int)[0]
    assert brightness[0] == brightness[1] < 20 < 600 < brightness[2] == brightness[3]
    assert error_picture(np.zeros((400, 800), dtype=np.float32), 320).shape == (160, 320, 3)


def test_every_level_has_its_curve_in_both_panels(tmp_path: Path) -> None:
    """Level 2 is a single point, which is marked."""
    points = ((2, 22), (1, 20), (1, 26), (0, 21), (0, 31))
    draw_curves(curve(*points), tmp_path / "curves.png")
    panels = read_png(tmp_path / "curves.png")[:500]  # above the legend
    for panel in np.array_split(panels, 2, axis=1):
        assert all(is_level(panel, level).any() for level in range(3))


def drawn(
    path: Path, level: int, *points: tuple[int, float], n_refit: int = 0
) -> NDArray[np.bool_]:
    """Where the left panel shows a level."""
    draw_curves(curve(*points, n_refit=n_refit), path)
    return is_level(read_png(path)[:500, :790], level)


def test_refits_are_dotted(tmp_path: Path) -> None:
    points = [(0, 20.0), (0, 30.0), (0, 30.0)]
    counts = [drawn(tmp_path / "a.png", 0, *points, n_refit=n).sum() for n in (0, 1)]
    assert counts[1] < 0.9 * counts[0]


@pytest.mark.parametrize("coarser", [[(1, 5.0), (1, 15.0)], [(1, 60.0), (1, 80.0)]])
def test_coarser_levels_take_no_room_from_the_finest(
    coarser: list[tuple[int, float]], tmp_path: Path
) -> None:
    """Neither their PSNR nor their steps."""
    finest = [(0, 20.0), (0, 30.0)]
    alone, beside = (drawn(tmp_path / "a.png", 0, *before, *finest) for before in ([], coarser))
    spans = [[np.ptp(indices) for indices in np.nonzero(mask)] for mask in (alone, beside)]
    np.testing.assert_allclose(spans[1], spans[0], rtol=0.05)
    assert spans[0][0] > 300  # of 500 pixels


@pytest.mark.parametrize("psnr", [[], [math.inf], [math.nan, 20, -math.inf, 21]])
def test_curves_leave_out_what_is_not_finite(psnr: list[float], tmp_path: Path) -> None:
    draw_curves(curve(*((0, value) for value in psnr)), tmp_path / "curves.png")
    assert read_png(tmp_path / "curves.png").shape[1] == 1500


def test_a_picture_replaces_the_old_file_at_once_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scratch: Path, target: Path) -> None:
        raise OSError("disk full")

    path = tmp_path / "picture.png"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            write_picture(path, BLACK)
        with pytest.raises(OSError, match="disk full"):
            draw_curves(curve((0, 20)), path)
    assert path.read_text() == "old"
    draw_curves(curve((0, 20)), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]
