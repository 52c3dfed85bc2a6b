"""What the tests of this folder start from."""

from pathlib import Path

import pytest
from saved import SHOWN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return SHOWN.save(tmp_path / "representation")
