"""Small valid images of every kind that is read, and small representations, to damage."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pyvips
import yaml
import zarr
from numpy.typing import NDArray

import miner

Files = dict[str, bytes]  # name: content; a file that is not in a folder has the name ""

ENCODINGS = {  # a source, and options of libvips, for each file
    "png": ("plain", "plain[interlace]", "plain[palette]", "deep"),
    "jpeg": ("plain", "plain[interlace]", "turned", "cmyk"),
    "tiff": (
        *("plain", "deep", "float", "deep[bigtiff]"),
        "float[tile,tile_width=16,tile_height=16,compression=deflate]",
    ),
    "webp": ("plain", "plain[lossless]", "pages"),
    "avif": ("plain[effort=0]", "grey[effort=0]"),
    "gif": ("plain", "pages"),
}
ARRAYS: tuple[dict[str, Any], ...] = (
    *({"zarr_format": 2}, {}, {"shards": (24, 20, 3)}),
    {"compressors": {"name": "blosc", "configuration": {"cname": "lz4"}}},
    {"compressors": {"name": "gzip", "configuration": {"level": 1}}},
)
SHORT: dict[str, Any] = {"fitting.max_steps": 2, "fitting.max_mse": 1e-9, "model.width": 3}
FITS: tuple[tuple[tuple[int, ...], str], ...] = (
    ((3, 20, 30), "patch_size=8 fitting.blocks_per_shard=4 capacity.max_width=6"),
    (
        (1, 17, 40),
        "patch_size=4 fitting.blocks_per_shard=20 capacity=uniform pyramid=laplacian "
        "weights=parent_frame activation=gabor storage=int8 readout=learned encoding=positional",
    ),
    ((2, 6, 9, 7), "patch_size=4 capacity.max_width=6 storage=float16 activation=gaussian"),
    ((1, 1, 1), "activation=relu capacity=uniform"),
    ((4, 9, 33), "patch_size=5 pyramid.n_levels=4 activation=finer encoding=none"),
)


def make_representations() -> list[Files]:
    """Files of small representations of several kinds."""
    corpus = []
    for seed, (shape, settings) in enumerate(FITS):
        values = np.random.default_rng(seed).random(shape, dtype=np.float32)
        pairs = (setting.split("=") for setting in settings.split())
        given = {name: yaml.safe_load(value) for name, value in pairs}
        fitted = miner.fit(values, **SHORT, **given)
        with tempfile.TemporaryDirectory() as folder:
            corpus.append({path.name: path.read_bytes() for path in fitted.save(folder).iterdir()})
    return corpus


def make_images() -> dict[str, list[Files]]:
    """Some images of every kind, the same ones at each call."""
    values = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        return {
            **{kind: list(_by_vips(values, kind)) for kind in ENCODINGS},
            "exr": list(_exrs(values, Path(folder) / "a.exr")),
            "npy": list(_npys(values)),
            "zarr": list(_zarrs(values, Path(folder))),
        }


def _by_vips(values: NDArray[np.uint8], kind: str) -> Iterator[Files]:
    plain = pyvips.Image.new_from_array(values).copy(interpretation="srgb")
    sources = {"plain": plain, "grey": plain[1], "cmyk": plain.colourspace("cmyk")}
    sources["deep"] = (plain * 257).cast("ushort").copy(interpretation="rgb16")
    sources["float"] = (plain / 255).cast("float")
    sources |= {"turned": plain.copy(), "pages": plain.copy()}
    sources["turned"].set_type(pyvips.GValue.gint_type, "orientation", 6)
    sources["pages"].set_type(pyvips.GValue.gint_type, "page-height", 12)
    for encoding in ENCODINGS[kind]:
        name, bracket, options = encoding.partition("[")
        yield {"": bytes(sources[name].write_to_buffer(f".{kind}{bracket}{options}"))}


def _npys(values: NDArray[np.uint8]) -> Iterator[Files]:
    for array in (values, values.transpose(2, 0, 1) / 255, values[..., 0] > 99):
        stream = io.BytesIO()
        np.save(stream, array)
        yield {"": stream.getvalue()}


def _exrs(values: NDArray[np.uint8], path: Path) -> Iterator[Files]:
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    for name in ("NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "DWAA"):
        header = {"compression": getattr(OpenEXR, f"{name}_COMPRESSION")}
        for kind, dtype in (({"type": OpenEXR.scanlineimage}, np.float16), (tiles, np.float32)):
            with OpenEXR.File(header | kind, {"RGB": (values / 9).astype(dtype)}) as file:
                file.write(str(path))
            yield {"": path.read_bytes()}


def _zarrs(values: NDArray[np.uint8], folder: Path) -> Iterator[Files]:
    for number, options in enumerate(ARRAYS):
        path = folder / f"{number}.zarr"
        zarr.create_array(path, data=values, chunks=(12, 10, 3), **options)
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        yield {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
