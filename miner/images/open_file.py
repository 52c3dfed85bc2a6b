"""Which reader a file is for, told by its content."""

from pathlib import Path

from miner.images.array_file import NPY_MAGIC, open_npy, open_zarr
from miner.images.exr_file import EXR_MAGIC, open_exr
from miner.images.picture import Picture
from miner.images.tiff_file import TIFF_MAGICS, open_tiff
from miner.images.vips_file import open_vips_file


def open_file(file: Path, max_pixels: int) -> Picture:
    """Read the header of an image file, or of a Zarr folder.

    Raises:
        ImageError: the content is no supported image or has more than `max_pixels` pixels.
        OSError: the file cannot be read.
    """
    if file.is_dir():
        return open_zarr(file, max_pixels)
    with file.open("rb") as stream:
        magic = stream.read(len(NPY_MAGIC))
    if magic == NPY_MAGIC:
        return open_npy(file, max_pixels)
    if magic.startswith(EXR_MAGIC):
        return open_exr(file, max_pixels)
    if magic.startswith(TIFF_MAGICS):
        return open_tiff(file, max_pixels)
    return open_vips_file(file, max_pixels)
