"""A run's pictures in small, as addresses that hold the whole picture."""

from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

from miner.comparison.results import THUMBNAIL_SIDE, THUMBNAILS, Result

_MOST_PIXELS = 2**22
"""Larger pictures are not reduced, as that takes a noticeable time."""


def pictures(results: Sequence[Result]) -> list[dict[str, str]]:
    """For each run, which of its thumbnails there are, as `data:` addresses.

    Of an older run without any, the reconstruction is reduced.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_pictures, results))


def _pictures(result: Result) -> dict[str, str]:
    paths = {name: result.thumbnail(name) for name in THUMBNAILS}
    found = {name: _stored(path) for name, path in paths.items() if path}
    return {name: each for name, each in (found or _reduced(result.folder)).items() if each}


def _stored(path: Path) -> str | None:
    try:
        return _address(path.read_bytes())
    except OSError:
        return None


def _reduced(folder: Path) -> dict[str, str | None]:
    from PIL import Image

    try:
        with Image.open(folder / "reconstruction.png", formats=["PNG"]) as image:
            if image.width * image.height > _MOST_PIXELS:
                return {}
            small: Any = image.convert("RGB")
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), reducing_gap=2)
            content = BytesIO()
            small.save(content, "WEBP", quality=80, method=2)
    except (OSError, ValueError, SyntaxError):  # none, or a broken one
        return {}
    return {"reconstruction": _address(content.getvalue())}


def _address(content: bytes) -> str:
    return f"data:image/webp;base64,{b64encode(content).decode('ascii')}"
