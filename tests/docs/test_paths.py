"""Documents name files and commands that exist, and have no gaps left to fill."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md", "Makefile")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PATH = re.compile(r"\b(?:miner|scripts|tests|docs|conf)/[a-z\d_/]+\.\w+")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(document: Path) -> None:
    named = set(PATH.findall(document.read_text()))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_gap_is_left(document: Path) -> None:
    assert re.findall(r"^[A-Z]{6,}$", document.read_text(), re.MULTILINE) == []
