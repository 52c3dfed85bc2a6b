"""The tables of findings against numbers worked out by hand."""

from itertools import product
from pathlib import Path

import findings
import pytest
import recipes
from rows import append_row

CLAIM = findings.Claim("made_up", "pyramid", "gaussian", ["readout"])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Laplacian gains 1 dB on one image and 3 on the other; its curve ends early on one."""
    path = tmp_path / "made_up.tsv"
    for image, gain in (("moon", 1.0), ("brick", 3.0)):
        for pyramid in ("laplacian", "gaussian"):
            for width, readout in product((8, 16, 32), ("learned", "closed_form")):
                size = width * (100 if (image, pyramid) == ("moon", "laplacian") else 1)
                psnr = 30 + width / 8 + (gain if pyramid == "laplacian" else 0)
                row = {
                    "image": image, "seed": 0, "pyramid": pyramid, "model.width": width,
                    "readout": readout, "psnr_db": psnr, "ssim": 0.9, "n_parameters": size,
                    "bits_per_pixel": 1.0, "fit_time_s": 2.0, "psnr_db_after_50": psnr - 1,
                    "psnr_db_after_150": psnr, "date": "", "commit": "", "hardware": "",
                    "command": "",
                }  # fmt: skip
                append_row(path, row)
    return path


def test_lines_are_the_value_minus_the_baseline(table: Path) -> None:
    line, _ = findings.compare(CLAIM, findings.read_comparison(table))
    assert (line.value, line.condition) == ("laplacian", "learned")
    assert findings.amount(line, line.same_settings, "dB") == "+2.00 ± 12.71 dB"
    assert findings.amount(line, line.seconds, "s") == "+0.00 ± 0.00 s"
    assert findings.amount(line, line.same_size, "dB") == "+3.00 dB (1 image x 1 seed)"


def test_the_table_goes_between_its_marks(table: Path, tmp_path: Path) -> None:
    document = tmp_path / "findings.md"
    document.write_text("before\n<!-- table made_up -->\nold\n<!-- end -->\nafter\n")
    lines = findings.compare(CLAIM, findings.read_comparison(table))
    findings.put(document, "made_up", findings.claim_table(CLAIM, lines))
    text = document.read_text()
    assert text.startswith("before\n<!-- table made_up -->\nOver 2 images x 1 seed:\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "| `laplacian` | learned | +2.00 ± 12.71 dB |" in text and "old" not in text


def test_the_document_has_a_table_for_every_claim() -> None:
    text = findings.FINDINGS.read_text()
    assert [name for name in findings.CLAIMS if f"<!-- table {name} -->\n" not in text] == []


def test_early_quality_is_that_of_the_finest_level() -> None:
    curve = {
        "level": [1, 1, 0, 0, 0, 0],
        "step": [0, 60, 60, 100, 110, 120],
        "psnr_db": [9, 40, 20, 25, 30, 35],
    }
    assert recipes.psnr_after(curve, 50) == 30
    assert recipes.psnr_after(curve, 5) == 20


def test_an_ablation_continues_only_with_the_code_it_began_with(tmp_path: Path) -> None:
    first = {"date": "1", "commit": "a", "hardware": "", "command": ""}
    assert recipes.first_origin(tmp_path / "sweep", first) == first
    assert recipes.first_origin(tmp_path / "sweep", first | {"date": "2"}) == first
    with pytest.raises(SystemExit, match="begun with commit a, this is b"):
        recipes.first_origin(tmp_path / "sweep", first | {"commit": "b"})
