"""Which encodings of Zarr chunks are read: some of the others run code that a file brings."""

from collections.abc import Iterator, Mapping
from typing import Any

_KNOWN = {
    *("adler32", "blosc", "bz2", "crc32", "crc32c", "fletcher32", "gzip", "jenkins_lookup3"),
    *("lz4", "lzma", "zlib", "zstd", "bytes", "endian", "transpose", "sharding_indexed"),
    *("delta", "shuffle", "bitround", "fixedscaleoffset", "quantize", "packbits", "astype"),
}


def unknown_codecs(metadata: Mapping[str, Any]) -> list[str]:
    """Names of the codecs in an array's metadata, version 2 or 3, that are not read."""
    named = {name.removeprefix("numcodecs.") for name in _names(metadata)}
    return sorted(named - _KNOWN)


def _names(metadata: Mapping[str, Any]) -> Iterator[str]:
    for codec in (metadata.get("compressor"), *(metadata.get("filters") or ())):
        if codec is not None:
            yield str(codec["id"])
    for key in ("codecs", "index_codecs"):
        for codec in metadata.get(key) or ():
            yield str(codec["name"])
            yield from _names(codec.get("configuration") or {})
