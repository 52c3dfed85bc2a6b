"""Images in and out: any local file to (C, H, W) in [0, 1], and back in its own bit depth."""

from miner.images.encode import PixelCanvas, check_writable_format
from miner.images.pixel_format import OpenedFile, PixelFormat
from miner.images.source import SAMPLE_PREFIX, SourceImage, file_digest, inspect_image, open_image

__all__ = [
    "SAMPLE_PREFIX",
    "OpenedFile",
    "PixelCanvas",
    "PixelFormat",
    "SourceImage",
    "check_writable_format",
    "file_digest",
    "inspect_image",
    "open_image",
]
