"""Small sound images of every kind that is read, and small sound representations, to damage."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pyvips
import zarr
from numpy.typing import NDArray

import miner

Files = dict[str, bytes]  # name: content; a file that is not in a folder has the name ""

SHORT: dict[str, Any] = {"fitting.max_steps": 2, "fitting.max_mse": 1e-9, "model.width": 3}
NARROW, UNIFORM = {"capacity.max_width": 6}, {"capacity": "uniform"}
INHERITED = {"pyramid": "laplacian", "weights": "parent_frame", "activation": "gabor"}
LEARNED = {"storage": "int8", "readout": "learned", "encoding": "positional"}
PLAIN = {"storage": "float16", "encoding": "none", "activation": "gaussian"}
FITS: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
    ((3, 20, 30), {"patch_size": 8, "fitting.blocks_per_shard": 4} | NARROW),
    (
        (1, 17, 40),
        {"patch_size": 4, "fitting.blocks_per_shard": 20} | UNIFORM | INHERITED | LEARNED,
    ),
    ((2, 6, 9, 7), {"patch_size": 4} | NARROW | PLAIN),
    ((1, 1, 1), {"activation": "relu"} | UNIFORM),
    ((4, 9, 33), {"patch_size": 5, "pyramid.n_levels": 4, "activation": "finer"} | NARROW),
)


def make_representations() -> list[Files]:
    """Files of small representations of several kinds."""
    corpus = []
    for seed, (shape, settings) in enumerate(FITS):
        values = np.random.default_rng(seed).random(shape, dtype=np.float32)
        fitted = miner.fit(values, **SHORT, **settings)
        with tempfile.TemporaryDirectory() as folder:
            corpus.append({path.name: path.read_bytes() for path in fitted.save(folder).iterdir()})
    return corpus


def make_images() -> dict[str, list[Files]]:
    """Some images of every kind, the same ones at each call."""
    values = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    arrays = (values, values.transpose(2, 0, 1) / 255, values[..., 0] > 99)
    kinds = {kind: [{"": content} for content in found] for kind, found in _by_vips(values).items()}
    with tempfile.TemporaryDirectory() as folder:
        return kinds | {
            "exr": [{"": content} for content in _exrs(values, Path(folder))],
            "npy": [{"": _npy(array)} for array in arrays],
            "zarr": list(_zarrs(values, Path(folder))),
        }


def _by_vips(values: NDArray[np.uint8]) -> dict[str, list[bytes]]:
    image = pyvips.Image.new_from_array(values).copy(interpretation="srgb")
    deep = (image * 257).cast("ushort").copy(interpretation="rgb16")
    floats, cmyk = (image / 255).cast("float"), image.colourspace("cmyk")
    turned, pages = image.copy(), image.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    pages.set_type(pyvips.GValue.gint_type, "page-height", 12)
    tiled = {"tile": True, "tile_width": 16, "tile_height": 16, "compression": "deflate"}
    variants: dict[str, list[tuple[Any, dict[str, Any]]]] = {
        "png": [(image, {}), (image, {"interlace": True}), (deep, {}), (image, {"palette": True})],
        "jpeg": [(image, {}), (image, {"interlace": True}), (turned, {}), (cmyk, {})],
        "tiff": [
            *((image, {}), (image, tiled), (deep, {}), (deep, {"bigtiff": True})),
            *((floats, {}), (floats, tiled)),
        ],
        "webp": [(image, {}), (image, {"lossless": True}), (pages, {})],
        "avif": [(image, {"effort": 0}), (image[1], {"effort": 0})],
        "gif": [(image, {}), (pages, {})],
    }
    return {
        kind: [bytes(one.write_to_buffer(f".{kind}", **options)) for one, options in found]
        for kind, found in variants.items()
    }


def _npy(values: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def _exrs(values: NDArray[np.uint8], folder: Path) -> Iterator[bytes]:
    planes = {name: values[:, :, n].astype(np.float32) / 9 for n, name in enumerate("RGB")}
    half = {name: plane.astype(np.float16) for name, plane in planes.items()}
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    for name in ("NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "DWAA"):
        header = {"compression": getattr(OpenEXR, f"{name}_COMPRESSION")}
        for kind, channels in (({"type": OpenEXR.scanlineimage}, half), (tiles, planes)):
            with OpenEXR.File(header | kind, channels) as file:
                file.write(str(folder / "a.exr"))
            yield (folder / "a.exr").read_bytes()


def _zarrs(values: NDArray[np.uint8], folder: Path) -> Iterator[Files]:
    variants: list[dict[str, Any]] = [
        *({"zarr_format": 2}, {}, {"shards": values.shape}),
        {"compressors": {"name": "blosc", "configuration": {"cname": "lz4"}}},
        {"compressors": {"name": "gzip", "configuration": {"level": 1}}},
    ]
    for number, options in enumerate(variants):
        path = folder / f"{number}.zarr"
        array = zarr.create_array(
            path, shape=(24, 20, 3), chunks=(12, 10, 3), dtype="u1", **options
        )
        array[:] = values
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        yield {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
