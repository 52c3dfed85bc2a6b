"""Sound images of every kind that is read, small ones, for `fuzz_images.py` to damage."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pyvips
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

Files = dict[str, bytes]  # name: content; a file of its own has the name ""
_HEIGHT, _WIDTH, _CHANNELS = 24, 20, 3


def sound_images(folder: Path) -> dict[str, list[Files]]:
    """Some of every kind, the same ones at each call; `folder` serves for making them."""
    shape = (_HEIGHT, _WIDTH, _CHANNELS)
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image = pyvips.Image.new_from_array(values).copy(interpretation="srgb")
    single = {
        "png": _pngs(values, image),
        "jpeg": _jpegs(values, image),
        "tiff": _tiffs(values),
        "webp": [
            _saved(image, ".webp"),
            _saved(image, ".webp", lossless=True),
            _animated(values, "WEBP"),
        ],
        "avif": [_saved(image, ".avif", effort=0), _saved(image[1], ".avif", effort=0)],
        "gif": [_by_pillow(_palette(values), "GIF"), _animated(values, "GIF")],
        "exr": list(_exrs(values, folder)),
        "npy": [_npy(values), _npy(values.transpose(2, 0, 1) / 255), _npy(values[:, :, 0] > 99)],
    }
    kinds = {kind: [{"": content} for content in contents] for kind, contents in single.items()}
    return kinds | {"zarr": list(_zarrs(values, folder))}


def _saved(image: Any, suffix: str, **options: Any) -> bytes:
    return bytes(image.write_to_buffer(suffix, **options))


def _by_pillow(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def _palette(values: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(values).quantize(8)


def _animated(values: NDArray[np.uint8], format: str) -> bytes:
    frames = [Image.fromarray(values), Image.fromarray(values[::-1])]
    return _by_pillow(frames[0], format, save_all=True, append_images=frames[1:])


def _pngs(values: NDArray[np.uint8], image: Any) -> list[bytes]:
    deep = (image * 257).cast("ushort").copy(interpretation="rgb16")
    return [
        _saved(image, ".png"),
        _saved(image, ".png", interlace=True),
        _saved(deep, ".png"),
        _by_pillow(_palette(values), "PNG"),
    ]


def _jpegs(values: NDArray[np.uint8], image: Any) -> list[bytes]:
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        _saved(image, ".jpg"),
        _saved(image, ".jpg", interlace=True),
        _by_pillow(Image.fromarray(values), "JPEG", exif=turned),
        _by_pillow(Image.fromarray(values).convert("CMYK"), "JPEG"),
    ]


def _tiffs(values: NDArray[np.uint8]) -> list[bytes]:
    deep = values.astype(np.uint16) * 257
    return [
        _tiff(values),
        _tiff(values, tile=(16, 16), compression="zlib"),
        _tiff(deep, rowsperstrip=5),
        _tiff(deep, bigtiff=True),
        _tiff(values.astype(np.float32) / 255),
        _tiff(values / 255, tile=(16, 16), compression="zlib"),
    ]


def _tiff(values: NDArray[Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, photometric="rgb", **options)
    return stream.getvalue()


def _npy(values: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def _exrs(values: NDArray[np.uint8], folder: Path) -> Iterator[bytes]:
    planes = {name: values[:, :, n].astype(np.float32) / 9 for n, name in enumerate("RGB")}
    half = {name: plane.astype(np.float16) for name, plane in planes.items()}
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    path = folder / "a.exr"
    for name in ("NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "DWAA"):
        header = {"compression": getattr(OpenEXR, f"{name}_COMPRESSION")}
        for kind, channels in (({"type": OpenEXR.scanlineimage}, half), (tiles, planes)):
            with OpenEXR.File(header | kind, channels) as file:
                file.write(str(path))
            yield path.read_bytes()
    path.unlink()


def _zarrs(values: NDArray[np.uint8], folder: Path) -> Iterator[Files]:
    variants: list[dict[str, Any]] = [
        {"zarr_format": 2},
        {"zarr_format": 3},
        {"zarr_format": 3, "shards": values.shape},
        {"zarr_format": 3, "compressors": {"name": "blosc", "configuration": {"cname": "lz4"}}},
        {"zarr_format": 3, "compressors": {"name": "gzip", "configuration": {"level": 1}}},
    ]
    for number, options in enumerate(variants):
        path = folder / f"{number}.zarr"
        chunks = (12, 10, _CHANNELS)
        array = zarr.create_array(path, shape=values.shape, chunks=chunks, dtype="u1", **options)
        array[:] = values
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        yield {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
