"""Write a comparison: a table for programs, a text for people, a page to look around in."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from miner.comparison.comparison import Comparison
from miner.comparison.markdown import markdown
from miner.comparison.page import page
from miner.comparison.results import Result
from miner.comparison.tables import table
from miner.files import written_whole


def write_comparison(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write `comparison.tsv`, `comparison.md` and `comparison.html`, each whole or not at all.

    Raises:
        OSError: the folder cannot be written to.
    """
    comparison = Comparison(results)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"comparison.{suffix}" for suffix in ("tsv", "md", "html")]
    texts = [_tab_separated(comparison), markdown(comparison), page(comparison)]
    for path, text in zip(paths, texts, strict=True):
        with written_whole(path) as scratch:  # names of files need not be UTF-8
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")
    return paths


def _tab_separated(comparison: Comparison) -> str:
    columns, rows = table(comparison)
    text = StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)  # None is written as nothing
    return text.getvalue()
