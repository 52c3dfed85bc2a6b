"""What a file says of its pixels besides the values: kept, and written with what is rendered."""

from dataclasses import dataclass
from typing import Any

_GDAL_NODATA = 42113  # a tag of TIFF


@dataclass(frozen=True)
class Metadata:
    """Resolution, colour profile and no-data value of an image; each is empty where a file is."""

    resolution: tuple[float, float] | None = None  # pixels a millimetre, across and down
    icc: str = ""  # the colour profile, in base64
    nodata: str = ""  # what pixels without data hold, as in GDAL's tag: -9999, nan


NO_METADATA = Metadata()


def tiff_metadata(page: Any) -> Metadata:
    """What the tags of tifffile's page say."""
    nodata = page.tags.valueof(_GDAL_NODATA, "")
    return Metadata(nodata=nodata.strip("\0 \n") if isinstance(nodata, str) else "")
