"""TIFF files of every kind, written byte by byte, with the pixels that the standard says they hold.

TIFF 6.0 and its technical notes: a cell of the table is a sample type, a layout, a compression with
a predictor, a photometric interpretation, extra samples and a byte order.
"""

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

HEIGHT, WIDTH, ROWS, TILE = 19, 37, 7, 16
UNSIGNED = tuple(f"uint{n}" for n in (1, 2, 4, 8, 10, 12, 14, 16, 32, 64))
SIGNED = ("int8", "int16", "int32", "int64")
FLOATS = ("float16", "float32", "float64")
ODD = ("uint5", "uint24", "complex64")
TYPES = (*UNSIGNED, *SIGNED, *FLOATS, *ODD)
KINDS = {  # photometric interpretation: number in the file and samples of a colour
    **{"MINISWHITE": (0, 1), "MINISBLACK": (1, 1), "RGB": (2, 3), "PALETTE": (3, 1)},
    **{"MASK": (4, 1), "SEPARATED": (5, 4), "YCBCR": (6, 3), "CIELAB": (8, 3), "ICCLAB": (9, 3)},
    **{"CFA": (32803, 1), "LOGL": (32844, 1), "LINEAR_RAW": (34892, 3)},
}
EXTRAS = ((), (0,), (1,), (2,), (0, 0), (2, 0), (0, 1), (1, 1))  # unspecified, associated, not
LAYOUTS = tuple(itertools.product((False, True), (False, True)))
Encode = Callable[[np.ndarray], bytes]


def _rows(encode: Callable[[bytes], bytes]) -> Encode:
    return lambda packed: b"".join(encode(row.tobytes()) for row in packed)


def _whole(encode: Callable[..., bytes], **options: Any) -> Encode:
    return lambda packed: bytes(encode(packed.tobytes(), **options))


def _image(encode: Callable[..., bytes], **options: Any) -> Encode:
    """Of codecs of images, which take values; one channel without an axis."""
    return lambda values: bytes(
        encode(values[..., 0] if values.shape[-1] == 1 else values, **options)
    )


def _jpeg(values: np.ndarray, space: str | None = None) -> bytes:
    """As of RGB that is not transformed, or of YCbCr."""
    values, n = values.squeeze(axis=-1) if values.shape[-1] == 1 else values, values.shape[-1]
    plain = {1: "grayscale", 3: "rgb", 4: "cmyk"}[n]
    options = {"level": 100, "subsampling": "444", "colorspace": plain}
    return _bare(imagecodecs.jpeg8_encode(values, outcolorspace=space or plain, **options))


def _bare(stream: bytes) -> bytes:
    """Without the markers and component names that tell a JPEG's colours: the tags of TIFF do."""
    content = bytearray(stream)
    for marker in (b"\xff\xe0", b"\xff\xee"):  # of JFIF and Adobe
        if (at := content.find(marker, 0, content.index(b"\xff\xda"))) > 0:
            del content[at : at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")]
    frame, scan = content.index(b"\xff\xc0"), content.index(b"\xff\xda")
    for n in range(content[frame + 9]):
        content[frame + 10 + 3 * n] = content[scan + 5 + 2 * n] = n + 1
    return bytes(content)


BYTES: dict[str, tuple[int, Encode]] = {  # codecs of packed bytes (rows, bytes)
    "NONE": (1, _whole(bytes)),
    "LZW": (5, _whole(imagecodecs.lzw_encode)),
    "ADOBE_DEFLATE": (8, _whole(imagecodecs.zlib_encode)),
    "DEFLATE": (32946, _whole(imagecodecs.zlib_encode)),
    "PACKBITS": (32773, _rows(imagecodecs.packbits_encode)),
    "LZMA": (34925, _whole(imagecodecs.lzma_encode)),
    "ZSTD": (50000, _whole(imagecodecs.zstd_encode)),
}
_NUMBERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_SHORT = ("uint8", "uint16")
_J2K: dict[str, Any] = {"level": 0, "codecformat": "j2k", "mct": False}
IMAGES: dict[str, tuple[int, Encode, tuple[str, ...], tuple[int, ...]]] = {  # of types and samples
    "LERC": (34887, _image(imagecodecs.lerc_encode), _NUMBERS, (1, 2, 3, 4, 5)),
    "JPEG": (7, _jpeg, ("uint8",), (1, 3, 4)),
    "JPEG2000": (
        34712,
        _image(imagecodecs.jpeg2k_encode, level=0, codecformat="j2k", mct=False),
        _SHORT,
        (1, 3, 4),
    ),
    "JPEGXR": (34934, _image(imagecodecs.jpegxr_encode), _SHORT, (1, 3)),
    "PNG": (34933, _image(imagecodecs.png_encode), _SHORT, (1, 2, 3, 4)),
    "WEBP": (50001, _image(imagecodecs.webp_encode, lossless=True), ("uint8",), (3, 4)),
    "JPEGXL": (50002, _image(imagecodecs.jpegxl_encode, lossless=True), _SHORT, (1, 3)),
}
UNKNOWN = {
    **{"PIXARLOG": 32909, "NEXT": 32766, "THUNDERSCAN": 32809, "JBIG": 34661, "SGILOG": 34676},
    **{
        "JETRAW": 48124,
        "APERIO_JP2000_YCBC": 33003,
        "EER_V0": 65000,
        "OJPEG": 6,
        "NIKON_NEF": 34713,
    },
}
CODES = {name: code[0] for name, code in {**BYTES, **IMAGES}.items()} | UNKNOWN


@dataclass(frozen=True)
class Cell:
    """One kind of TIFF."""

    type: str = "uint8"
    kind: str = "MINISBLACK"
    extra: tuple[int, ...] = ()
    planar: bool = False
    tiled: bool = False
    codec: str = "NONE"
    predictor: int = 1
    order: str = "<"

    @property
    def bits(self) -> int:
        return int("".join(filter(str.isdigit, self.type)))

    @property
    def n_samples(self) -> int:
        return KINDS[self.kind][1] + len(self.extra)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a sample in memory."""
        is_packed = self.type.startswith("u") and self.bits not in (8, 16, 32, 64)
        return np.dtype(
            f"uint{8 if self.bits <= 8 else 16 if self.bits <= 16 else 32}"
            if is_packed
            else self.type
        )

    def __str__(self) -> str:
        return "-".join(str(getattr(self, one.name)) for one in fields(self))


def draw(cell: Cell) -> np.ndarray:
    """Samples (H, W, S) of all sizes, smooth for JPEG, which would change others."""
    shape = (HEIGHT, WIDTH, cell.n_samples)
    rng = np.random.default_rng(sum(map(ord, f"{cell.type}{cell.kind}{cell.extra}")))
    if cell.codec == "JPEG":
        y, x, n = np.indices(shape)
        return (60 + 3 * y + 2 * x + 20 * n).astype(np.uint8)
    if cell.dtype.kind == "f":
        values = rng.normal(0, 1, shape) * 10.0 ** rng.integers(-2, 3, shape)
        values[..., KINDS[cell.kind][1] :] = rng.random(values[..., KINDS[cell.kind][1] :].shape)
    elif cell.dtype.kind == "c":
        return rng.normal(0, 1, shape).astype(cell.dtype)
    else:
        least = -(2 ** (cell.bits - 1)) if cell.type in SIGNED else 0
        most = least + 2**cell.bits - 1
        values = rng.integers(least, most, shape, cell.dtype, endpoint=True)
        values[0, 0], values[-1, -1] = least, most
    values[1, :3, KINDS[cell.kind][1] :] = 0  # transparent
    return values.astype(cell.dtype)


def draw_palette(cell: Cell) -> np.ndarray:
    """Colours (3, 2**bits) of 16 bits."""
    return np.random.default_rng(cell.bits).integers(0, 2**16, (3, 2**cell.bits), np.uint16)


def encode(cell: Cell, segment: np.ndarray) -> bytes:
    """The bytes of a strip or tile (rows, columns, samples)."""
    if cell.codec in IMAGES:
        is_ycbcr = cell.codec == "JPEG" and cell.kind == "YCBCR"
        return IMAGES[cell.codec][1](segment) if not is_ycbcr else _jpeg(segment, "ycbcr")
    if cell.predictor == 3:
        packed = predict_floats(segment)
    else:
        packed = pack(predict(cell, segment) if cell.predictor == 2 else segment, cell)
    return BYTES[cell.codec][1](packed) if cell.codec in BYTES else packed.tobytes()


def pack(segment: np.ndarray, cell: Cell) -> np.ndarray:
    """Bytes (rows, n) of samples in a byte order, or bit by bit, the highest first."""
    rows = segment.reshape(len(segment), -1)
    if cell.bits in (8, 16, 32, 64):
        ordered = np.ascontiguousarray(rows, segment.dtype.newbyteorder(cell.order))
        return ordered.view(np.uint8).reshape(len(rows), -1)
    places = np.arange(cell.bits - 1, -1, -1, dtype=rows.dtype)
    return np.packbits(((rows[..., None] >> places) & 1).reshape(len(rows), -1), axis=1)


def predict(cell: Cell, segment: np.ndarray) -> np.ndarray:
    """Horizontal differences, of the bits as whole numbers."""
    whole = segment.view(f"u{segment.dtype.itemsize}")
    differences = whole.copy()
    differences[:, 1:] -= whole[:, :-1]
    return differences.view(segment.dtype)


def predict_floats(segment: np.ndarray) -> np.ndarray:
    """Technical note 3: bytes of a row sorted by their place, the highest first; differences."""
    n_rows, _, n_samples = segment.shape
    big = segment.reshape(n_rows, -1).astype(segment.dtype.newbyteorder(">"))
    planes = big.view(np.uint8).reshape(n_rows, -1, segment.dtype.itemsize).transpose(0, 2, 1)
    sorted_bytes = planes.reshape(n_rows, -1)
    differences = sorted_bytes.copy()
    differences[:, n_samples:] -= sorted_bytes[:, :-n_samples]
    return differences


def segments(cell: Cell, samples: np.ndarray) -> Iterator[np.ndarray]:
    """Strips or tiles of all planes; what a tile has beyond the image is not zero."""
    planes = np.moveaxis(samples, -1, 0)[..., None] if cell.planar else samples[None]
    for plane in planes:
        if not cell.tiled:
            plane = np.ascontiguousarray(plane)
            yield from (plane[first : first + ROWS] for first in range(0, HEIGHT, ROWS))
            continue
        after = [(0, -side % TILE) for side in (HEIGHT, WIDTH)]
        padded = np.pad(plane, [*after, (0, 0)], mode="wrap")
        for y, x in itertools.product(range(0, HEIGHT, TILE), range(0, WIDTH, TILE)):
            yield np.ascontiguousarray(padded[y : y + TILE, x : x + TILE])


def write(path: Path, cell: Cell, samples: np.ndarray, **more: Any) -> None:
    """Write a cell's file; `more` are tags, as in tag_270=("s", b"text"), or None."""
    n = cell.n_samples
    formats = {"f": 3, "i": 2, "u": 1, "c": 6}
    data = [encode(cell, segment) for segment in segments(cell, samples)]
    offsets = list(itertools.accumulate(map(len, data), initial=8))[:-1]
    tags: dict[int, tuple[str, Sequence[Any]]] = {
        **{256: ("I", [WIDTH]), 257: ("I", [HEIGHT]), 258: ("H", [cell.bits] * n)},
        **{259: ("H", [CODES[cell.codec]]), 262: ("H", [KINDS[cell.kind][0]]), 277: ("H", [n])},
        **{284: ("H", [1 + cell.planar]), 339: ("H", [formats[cell.dtype.kind]] * n)},
        (324 if cell.tiled else 273): ("I", offsets),
        (325 if cell.tiled else 279): ("I", list(map(len, data))),
    }
    tags |= {322: ("I", [TILE]), 323: ("I", [TILE])} if cell.tiled else {278: ("I", [ROWS])}
    tags |= {317: ("H", [cell.predictor])} if cell.predictor > 1 else {}
    tags |= {338: ("H", cell.extra)} if cell.extra else {}
    if cell.kind == "PALETTE" and cell.type in UNSIGNED and cell.bits <= 16:
        tags[320] = ("H", draw_palette(cell).ravel().tolist())
    tags |= {int(name.removeprefix("tag_")): tag for name, tag in more.items()}
    tags = {number: tag for number, tag in tags.items() if tag}
    path.write_bytes(join(cell.order, b"".join(data), tags))


def join(order: str, data: bytes, tags: dict[int, tuple[str, Sequence[Any]]]) -> bytes:
    """A TIFF of one page: a header, data from byte 8, values of tags, and the directory."""
    codes = {"s": 2, "H": 3, "I": 4, "d": 12, "B": 1}
    body, entries = data + bytes(len(data) % 2), b""
    for number, (kind, values) in sorted(tags.items()):
        content = values if kind == "s" else struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(content) > 4:
            content, body = struct.pack(f"{order}I", 8 + len(body)), body + content
            body += bytes(len(body) % 2)
        entries += struct.pack(f"{order}HHI", number, codes[kind], len(values)) + content.ljust(
            4, b"\0"
        )
    magic = b"II*\0" if order == "<" else b"MM\0*"
    header = magic + struct.pack(f"{order}I", 8 + len(body))
    return header + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
