"""GeoTIFF as GDAL reads and writes it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

import miner

SETTINGS: Any = {"progress": False, "patch_size": 8, "pyramid.n_levels": 2, "fitting.max_steps": 1}
NORTH_UP = Affine.translation(500_000, 4_200_000) @ Affine.scale(2, -3)
REGION = ((3, 19), (6, 29))
LEFT_TOP = Affine.translation(6, 3)


@pytest.mark.parametrize("transform", [NORTH_UP, NORTH_UP @ Affine.rotation(30)])
@pytest.mark.parametrize("point", ["Area", "Point"])
@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        ({}, Affine.identity()),
        ({"level": 1}, Affine.scale(2)),
        ({"scale": 2}, Affine.scale(0.5)),
        ({"region": REGION}, LEFT_TOP),
        ({"region": REGION, "scale": 0.5}, LEFT_TOP @ Affine.scale(23 / 12, 2)),
    ],
)
def test_pixels_lie_where_gdal_has_them(
    tmp_path: Path, arguments: Any, change: Affine, transform: Affine, point: str
) -> None:
    values = np.random.default_rng(0).random((1, 24, 32), np.float32)
    values[:, :3, :5] = -9999
    kind: Any = {"driver": "GTiff", "height": 24, "width": 32, "count": 1, "dtype": "float32"}
    kind |= {"transform": transform, "crs": "EPSG:32633", "nodata": -9999}
    with rasterio.open(tmp_path / "in.tif", "w", **kind) as file:
        file.update_tags(AREA_OR_POINT=point)
        file.write(values)
    fitted = miner.fit(str(tmp_path / "in.tif"), **SETTINGS)
    path = fitted.render(**arguments, out=tmp_path / "out.tif")
    with rasterio.open(tmp_path / "in.tif") as source, rasterio.open(path) as file:
        assert file.transform.almost_equals(source.transform @ change, 1e-6)
        assert (file.crs, file.nodata) == (source.crs, -9999)
        assert file.tags()["AREA_OR_POINT"] == point
        if not arguments:
            assert np.array_equal(file.read_masks(1), source.read_masks(1))
