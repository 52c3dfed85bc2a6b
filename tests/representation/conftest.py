"""What the tests of this folder start from."""

from pathlib import Path

import pytest
from samples import SHOWN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return SHOWN.save(tmp_path / "representation")
