"""Scratch arrays of both kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from miner.signals.scratch import Scratch


@pytest.fixture(params=["memory", "file"])
def scratch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scratch]:
    with Scratch(tmp_path / "scratch" if request.param == "file" else None) as made:
        yield made
