"""A block DCT and the codecs of image files: images as bytes, and back from the bytes alone."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from miner.support.errors import ConfigError, ImageError
from miner.support.ranges import rule, whole

Image = NDArray[np.float32]  # (C, H, W) in [0, 1]
BlockSize = Annotated[int, rule("be 8, 16, 24 … or 256", multiple_of=8, ge=8, le=256)]
_GREY = b"\0\0\0\x08free"  # an empty box, which readers of image files skip


_N_HEADER = 5  # words
_BY_FREQUENCY = (0, 2, 4, 1, 3)  # of channels, rows of blocks, rows, columns of blocks, columns


@dataclass(frozen=True)
class Codec(ABC):
    """Turns images into bytes. Raises `ImageError` for wrong images, `ConfigError` for settings."""

    takes_size: ClassVar[bool] = False  # else a quality decides

    @abstractmethod
    def encode(self, image: Image, size: int | None) -> bytes:
        """Bytes of `(C, H, W)` in [0, 1], of at most `size` parameters; None: quality decides."""

    @abstractmethod
    def decode(self, data: bytes) -> Image:
        """The image `(C, H, W)` in [0, 1] of these bytes."""

    def n_parameters(self, data: bytes) -> int | None:
        """How many numbers the bytes hold; None where they are counted in bits alone."""
        return None


@dataclass(frozen=True)
class BlockDct(Codec):
    """The largest coefficients of the orthonormal DCT (type II) of square blocks, as float32.

    Channels are first turned to their principal axes. Both steps are orthonormal, so no other
    choice of as many coefficients has a smaller squared error; edges are repeated to whole blocks.
    Every 32-bit word counts as a parameter: 5 of the header (C, H, W, the side of blocks, words of
    the map), C of the mean, C*C of the axes, a map of which coefficients are kept, a bit each,
    frequency by frequency and compressed by zlib, and the kept ones.
    """

    takes_size: ClassVar[bool] = True
    block_size: BlockSize = 8  # pixels a side

    def encode(self, image: Image, size: int | None) -> bytes:
        """Keeps as many coefficients as `size` leaves parameters for."""
        from scipy.fft import dctn

        _check(image)
        if size is None:
            raise ConfigError("size=None: a block DCT keeps what a number of parameters pays for")
        mean = image.mean((1, 2), np.float64, keepdims=True).astype("<f4")
        covariance = np.cov(image.reshape(len(image), -1), bias=True)
        axes = np.linalg.eigh(np.atleast_2d(covariance))[1].T.astype("<f4")
        components = np.tensordot(axes, image - mean, 1)
        padding = [(0, 0), *((0, -side % self.block_size) for side in image.shape[1:])]
        blocks = np.pad(components, padding, "edge")
        blocks = blocks.reshape(_block_shape(image.shape, self.block_size))
        coefficients = dctn(blocks, axes=(2, 4), norm="ortho").transpose(_BY_FREQUENCY).ravel()
        order = np.argsort(-np.abs(coefficients), kind="stable")
        left = size - _N_HEADER - mean.size - axes.size
        low, high = 0, min(max(left, 0), np.count_nonzero(coefficients)) + 1
        while high - low > 1:  # the map grows with what is kept, but for a few bytes
            middle = (low + high) // 2
            fits = middle + len(_map_of(order[:middle], order.size)) // 4 <= left
            low, high = (middle, high) if fits else (low, middle)
        kept = np.sort(order[:low])
        content = _map_of(kept, order.size)
        if low + len(content) // 4 > left:
            rule = "is too little for this image; give more"
            raise ConfigError(f"size={size}: {rule}")
        header = np.array([*image.shape, self.block_size, len(content) // 4], "<u4")
        parts = (header, mean, axes, content, coefficients[kept].astype("<f4"))
        return b"".join(bytes(part) for part in parts)

    def decode(self, data: bytes) -> Image:
        """Transforms the kept coefficients back and clips to [0, 1]."""
        from scipy.fft import idctn

        words = np.frombuffer(data, "<f4")
        n_channels, height, width, side, n_map = map(int, words[:_N_HEADER].view("<u4"))
        sizes = [_N_HEADER, n_channels, n_channels**2, n_map]
        _, mean, axes, packed, kept = np.split(words, np.cumsum(sizes))
        bits = np.frombuffer(zlib.decompressobj().decompress(packed.tobytes()), np.uint8)
        shape = np.array(_block_shape((n_channels, height, width), side))
        coefficients = np.zeros(shape.prod(), np.float32)
        coefficients[np.unpackbits(bits, count=coefficients.size).astype(bool)] = kept
        blocks = coefficients.reshape(shape[[*_BY_FREQUENCY]]).transpose(np.argsort(_BY_FREQUENCY))
        blocks = idctn(blocks, axes=(2, 4), norm="ortho")
        components = blocks.reshape(n_channels, shape[1] * side, -1)[:, :height, :width]
        turned = np.tensordot(axes.reshape(n_channels, -1).T, components, 1)
        image: Image = (turned + mean[:, None, None]).clip(0, 1).astype(np.float32)
        return image

    def n_parameters(self, data: bytes) -> int:
        """All 32-bit words."""
        return len(data) // 4


@dataclass(frozen=True)
class VipsCodec(Codec):
    """JPEG, WebP or AVIF by libvips, of 1 or 3 channels that are rounded to 8 bits.

    `options` are those of libvips's `jpegsave`, `webpsave` and `heifsave`, as effort: 6.
    """

    suffix: Annotated[Literal[".jpg", ".webp", ".avif"], rule("be .jpg, .webp or .avif")]
    quality: Annotated[int, whole(1, 100)]
    options: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, image: Image, size: int | None) -> bytes:
        """A file, with a mark if its format has no grey and the image is."""
        import pyvips

        values = pyvips.Image.new_from_array(_as_bytes(image, size), interpretation="auto")
        try:
            options = {"Q": self.quality, "keep": "none", **self.options}
            data: bytes = values.write_to_buffer(self.suffix, **options)
        except (pyvips.Error, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{self}: {reason}; give other settings") from None
        has_channels = pyvips.Image.new_from_buffer(data, "").bands == len(image)
        return data if has_channels else data + _GREY

    def decode(self, data: bytes) -> Image:
        """The image of a file."""
        import pyvips

        values = pyvips.Image.new_from_buffer(data, "").numpy()
        return _as_floats(values[..., 0] if data.endswith(_GREY) else values)


@dataclass(frozen=True)
class ImagecodecsCodec(Codec):
    """JPEG 2000 or JPEG XL by imagecodecs, of 1 or 3 channels that are rounded to 8 bits.

    `quality` is the PSNR in dB of jpeg2k and the quality of jpegxl; `options` are those of
    imagecodecs's `jpeg2k_encode` and `jpegxl_encode`, as effort: 7.
    """

    name: Annotated[Literal["jpeg2k", "jpegxl"], rule("be jpeg2k or jpegxl")]
    quality: Annotated[float, rule("be above 0 and at most 100", gt=0, le=100)]
    options: Mapping[str, Any] = field(default_factory=dict)

    def encode(self, image: Image, size: int | None) -> bytes:
        """A file."""
        import imagecodecs

        values = _as_bytes(image, size)
        try:
            if self.options.get("effort") not in (None, *range(1, 11)):  # it takes the nearest
                raise ValueError("effort must be a whole number from 1 to 10")
            encode = getattr(imagecodecs, f"{self.name}_encode")
            return bytes(encode(values, self.quality, **self.options))
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"{self}: {error}; give other settings") from None

    def decode(self, data: bytes) -> Image:
        """The image of a file."""
        import imagecodecs

        return _as_floats(getattr(imagecodecs, f"{self.name}_decode")(data))


def _map_of(kept: NDArray[np.intp], n_coefficients: int) -> bytes:
    """Which coefficients are kept, compressed, in whole 32-bit words."""
    is_kept = np.zeros(n_coefficients, bool)
    is_kept[kept] = True
    content = zlib.compress(np.packbits(is_kept).tobytes(), 9)
    return content + bytes(-len(content) % 4)


def _check(image: Image) -> None:
    if image.ndim != 3 or not image.size or not np.isfinite(image).all():
        raise ImageError(f"shape {image.shape}: must be (C, H, W) of finite values; give such")


def _block_shape(shape: tuple[int, ...], side: int) -> tuple[int, ...]:
    channels, height, width = shape
    return channels, -(-height // side), side, -(-width // side), side


def _as_bytes(image: Image, size: int | None) -> NDArray[np.uint8]:
    """`(H, W)` or `(H, W, 3)`, for a codec whose quality decides."""
    _check(image)
    if size is not None:
        raise ConfigError(f"size={size}: quality decides the size; leave it None")
    if len(image) not in (1, 3):
        raise ImageError(f"{len(image)} channels: must be 1 or 3; use BlockDct for others")
    values: NDArray[np.uint8] = np.round(image.clip(0, 1) * 255).astype(np.uint8)
    return values[0] if len(image) == 1 else np.ascontiguousarray(values.transpose(1, 2, 0))


def _as_floats(values: NDArray[np.uint8]) -> Image:
    return np.atleast_3d(values).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
