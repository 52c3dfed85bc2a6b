"""A block DCT against a slow loop and its theory; codecs against other readers of their bytes."""

import io
import subprocess
import sys
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image
from scipy.fft import dct

from miner.config.build import CONF_FOLDER
from miner.peers.codecs import BlockDct, Codec, ImagecodecsCodec, VipsCodec
from miner.support.errors import ConfigError, ImageError
from miner.support.ranges import ranges_of

CODECS: dict[str, Codec] = {
    "jpeg": VipsCodec(".jpg", 95, {"subsample_mode": "off"}),
    "webp": VipsCodec(".webp", 95),
    "avif": VipsCodec(".avif", 90, {"subsample_mode": "off"}),
    "jpeg2000": ImagecodecsCodec("jpeg2k", 45),
    "jpeg_xl": ImagecodecsCodec("jpegxl", 95),
}
COARSER: dict[str, Codec] = {
    "jpeg": VipsCodec(".jpg", 30),
    "webp": VipsCodec(".webp", 30),
    "avif": VipsCodec(".avif", 30),
    "jpeg2000": ImagecodecsCodec("jpeg2k", 30),
    "jpeg_xl": ImagecodecsCodec("jpegxl", 30),
}


def smooth(*shape: int) -> NDArray[np.float32]:
    """Waves and a little noise within [0.2, 0.8], each channel another mixture of them."""
    generator = np.random.default_rng(0)
    channels, height, width = shape
    y, x = np.mgrid[:height, :width] / 24
    waves = np.stack([np.sin(3 * x + y), np.cos(x * y), np.sin(5 * y)])
    mixture = generator.uniform(-1, 1, (channels, 3))
    image = np.einsum("cw,whx->chx", mixture / 3, waves)
    noise = generator.uniform(-0.1, 0.1, shape)
    return (0.5 + 0.25 * image + noise / 2).astype(np.float32)


def mse(image: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.mean((image.astype(np.float64) - other) ** 2))


def n_header(channels: int) -> int:
    return 5 + channels + channels**2


def n_kept(data: bytes) -> int:
    """Coefficients, by the header."""
    channels, *_, n_map = np.frombuffer(data[:20], "<u4")
    return len(data) // 4 - n_header(int(channels)) - int(n_map)


def turned(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Channels on their principal axes, found by another decomposition than the codec's."""
    pixels = image.reshape(len(image), -1).astype(np.float64)
    pixels -= pixels.mean(1, keepdims=True)
    axes = np.linalg.svd(pixels, full_matrices=False)[0].T
    return (axes @ pixels).reshape(image.shape)


def block_coefficients(image: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The coefficients of every block, one block, row and column after another."""
    found = []
    for channel in image:
        for top in range(0, channel.shape[0], size):
            for left in range(0, channel.shape[1], size):
                block = channel[top : top + size, left : left + size]
                rows = np.array([dct(row, norm="ortho") for row in block])
                found.append(np.array([dct(column, norm="ortho") for column in rows.T]).ravel())
    return np.concatenate(found)


@pytest.mark.parametrize("block_size", [8, 16, 24])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_error_is_the_sum_of_the_smallest_coefficients_squared(
    channels: int, block_size: int
) -> None:
    image = smooth(channels, 48, 96)
    squares = np.sort(block_coefficients(turned(image), block_size) ** 2)
    for size in (100, 500, 2000):
        data = BlockDct(block_size).encode(image, size)
        assert n_kept(data) > 10
        error = image.size * mse(image, BlockDct().decode(data))
        assert error == pytest.approx(squares[: -n_kept(data)].sum(), rel=1e-4)


def test_other_coefficients_are_worse() -> None:
    image, codec = smooth(3, 32, 32), BlockDct(16)
    best, full = codec.encode(image, 120), codec.encode(image, 10**6)
    values, generator = np.frombuffer(full[-4 * image.size :], "<f4"), np.random.default_rng(1)
    for _ in range(20):
        is_kept = np.zeros(image.size, bool)
        is_kept[generator.permutation(image.size)[: n_kept(best)]] = True
        content = zlib.compress(np.packbits(is_kept).tobytes())
        content += bytes(-len(content) % 4)
        start = (
            full[:16] + np.array(len(content) // 4, "<u4").tobytes() + full[20 : 4 * n_header(3)]
        )
        other = start + content + values[is_kept].tobytes()
        assert n_kept(other) == n_kept(best)
        assert mse(image, codec.decode(other)) > mse(image, codec.decode(best))


def test_all_coefficients_give_the_image_back() -> None:
    for shape in ((1, 1, 1), (3, 7, 50), (4, 33, 16), (12, 9, 9)):
        image = smooth(*shape)
        data = BlockDct(16).encode(image, 10**6)
        assert np.abs(BlockDct(16).decode(data) - image).max() < 1e-5


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 70), st.integers(1, 70)),
    st.sampled_from([8, 16, 32, 64]),
    st.integers(0, 3000),
)
def test_parameters_are_what_was_asked_for(
    shape: tuple[int, int, int], block_size: int, n_more: int
) -> None:
    channels, height, width = shape
    blocks = -(-height // block_size) * -(-width // block_size)
    n_all, codec = channels * blocks * block_size**2, BlockDct(block_size)
    size = n_header(channels) + n_all // 512 + 10 + n_more
    data = codec.encode(smooth(*shape), size)
    assert codec.n_parameters(data) == len(data) / 4 <= size
    if size < n_all // 2 and height % block_size == width % block_size == 0:
        assert codec.n_parameters(data) > 0.95 * size - 8
    decoded = BlockDct(128).decode(data)
    assert decoded.shape == shape and decoded.dtype == np.float32
    assert decoded.min() >= 0 and decoded.max() <= 1


def test_more_parameters_never_make_it_worse() -> None:
    image = smooth(3, 41, 67)
    sizes = [50, 80, 150, 300, 1000, 5000, 20000]
    errors = [mse(image, BlockDct().decode(BlockDct().encode(image, size))) for size in sizes]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 10 * errors[-1]


def test_a_constant_image_is_its_mean() -> None:
    image = np.full((3, 20, 20), 0.3, np.float32)
    data = BlockDct().encode(image, 10**6)
    assert n_kept(data) == 0
    assert BlockDct().decode(data) == pytest.approx(image)


def test_correlated_channels_share_coefficients() -> None:
    grey = smooth(1, 64, 64)
    coloured = np.concatenate([grey, 0.5 * grey, 0.3 + 0.2 * grey])
    alone, together = (BlockDct().encode(one, 600) for one in (grey, coloured))
    assert n_kept(together) > 0.9 * n_kept(alone)
    errors = [mse(BlockDct().decode(data)[:1], grey) for data in (together, alone)]
    assert errors[0] < 1.2 * errors[1]


@pytest.mark.parametrize("size", [None, -1, 3, n_header(3)])
def test_block_dct_refuses_what_no_image_fits_in(size: int | None) -> None:
    with pytest.raises(ConfigError, match=f"^size={size}: "):
        BlockDct(16).encode(smooth(3, 16, 16), size)
    BlockDct(16).encode(smooth(3, 16, 16), n_header(3) + 24)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("shape", [(1, 37, 50), (3, 37, 50), (3, 1, 1), (1, 64, 9)])
def test_codecs_give_the_image_back(name: str, shape: tuple[int, int, int]) -> None:
    image = smooth(*shape)
    data = CODECS[name].encode(image, None)
    decoded = COARSER[name].decode(data)
    assert decoded.shape == shape and decoded.dtype == np.float32
    assert mse(image, decoded) < 10**-3
    assert CODECS[name].n_parameters(data) is None


@pytest.mark.parametrize("name", CODECS)
def test_a_lower_quality_takes_fewer_bits_and_is_worse(name: str) -> None:
    image = smooth(3, 64, 64)
    fine, coarse = CODECS[name].encode(image, None), COARSER[name].encode(image, None)
    assert len(coarse) < 0.7 * len(fine)
    decode = CODECS[name].decode
    assert mse(image, decode(coarse)) > 1.3 * mse(image, decode(fine))


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif", "jpeg2000"])  # none else reads JPEG XL
@pytest.mark.parametrize("channels", [1, 3])
def test_other_programs_read_the_same_bytes(name: str, channels: int) -> None:
    data = CODECS[name].encode(smooth(channels, 40, 56), None)
    own = np.round(CODECS[name].decode(data) * 255)
    read = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)]
    if name != "avif":  # which few builds of OpenCV know
        by_opencv: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        read.append(by_opencv[..., ::-1].astype(float))
    for other in read:
        assert np.abs(own - other.transpose(2, 0, 1)).max() <= 2


@pytest.mark.parametrize("name", CODECS)
def test_files_hold_no_metadata(name: str) -> None:
    data = CODECS[name].encode(smooth(3, 16, 16), None)
    assert b"Exif" not in data and b"EXIF" not in data and b"ICC" not in data


@pytest.mark.parametrize("name", CODECS)
def test_grey_in_three_channels_stays_in_three(name: str) -> None:
    image = np.repeat(smooth(1, 16, 16), 3, 0)
    assert CODECS[name].decode(CODECS[name].encode(image, None)).shape == image.shape


@pytest.mark.parametrize("name", CODECS)
def test_codecs_refuse_a_size_and_other_channels(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^size=100: "):
        CODECS[name].encode(smooth(3, 16, 16), 100)
    for channels in (2, 4):
        with pytest.raises(ImageError, match=f"^{channels} channels: must be 1 or 3; use"):
            CODECS[name].encode(smooth(channels, 16, 16), None)


@pytest.mark.parametrize("codec", [BlockDct(), *CODECS.values()], ids=lambda c: str(c)[:40])
def test_all_refuse_what_is_no_image(codec: Codec) -> None:
    broken = smooth(3, 16, 16)
    broken[0, 0, 0] = np.nan
    for image in (broken, smooth(1, 16, 16)[0], smooth(3, 16, 16)[:, :0]):
        with pytest.raises(ImageError, match=r"^shape \("):
            codec.encode(image, 1000 if isinstance(codec, BlockDct) else None)


@pytest.mark.parametrize(
    "codec",
    [
        VipsCodec(".jpg", 90, {"subsample_mode": "sideways"}),
        VipsCodec(".webp", 90, {"no_such": 1}),
        VipsCodec(".bmp2", 90),  # type: ignore[arg-type]
        ImagecodecsCodec("jpegxl", 90, {"no_such": 1}),
        ImagecodecsCodec("jpeg2k", 40, {"codecformat": "JP3"}),
    ],
)
def test_options_that_a_codec_lacks_are_refused_with_their_name(codec: Codec) -> None:
    with pytest.raises(ConfigError, match=r"Codec\(.*; give other settings$"):
        codec.encode(smooth(3, 16, 16), None)


@pytest.mark.parametrize("option", ["dct", "jpeg", "webp", "avif", "jpeg2000", "jpeg_xl"])
def test_each_option_encodes_an_image(option: str) -> None:
    settings: Any = OmegaConf.load(CONF_FOLDER / "method" / f"{option}.yaml")
    codec = instantiate(settings.codec)
    per_pixel, image = settings.parameters_per_pixel, smooth(3, 32, 32)
    data = codec.encode(image, None if per_pixel is None else int(per_pixel * 32 * 32))
    assert codec.decode(data).shape == image.shape
    known = ranges_of(type(codec)).model_validate(OmegaConf.to_container(settings.codec))
    assert known.target == settings.codec._target_


def test_configurations_are_checked_without_heavy_imports() -> None:
    code = "import sys, miner.peers.codecs; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "scipy", "pyvips", "imagecodecs"} & set(done.stdout.split()) == set()
