"""The tables of findings against numbers worked out by hand."""

import math
from itertools import product
from pathlib import Path

import findings
import pytest
import recipes
from rows import append_row

from miner.comparison.comparison import Comparison
from miner.comparison.runs import Result

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


@pytest.mark.parametrize(
    ("one", "two", "distance"),
    [
        (([100, 200, 400], [30, 33, 36]), ([200, 400, 800], [35, 38, 41]), 2),
        (([1, 10, 100], [0, 0, 0]), ([1, 10, 100], [0, 2, 4]), 2),
        (([100, 300, 1000], [30, 35, 40]), ([1000, 3000, 9999], [20, 25, 30]), None),
        (([100, 300, 1000], [30, 35, 40]), ([999, 3000, 9999], [20, 25, 30]), None),
        (([100, 1000], [30, 40]), ([100, 300, 1000], [30, 35, 40]), None),
    ],
    ids=["3 dB per doubling, 2 dB better", "over the logarithm", "no overlap", "hardly any", "few"],
)
def test_curves_are_apart_by_their_mean_distance(
    one: findings.Curve, two: findings.Curve, distance: float | None
) -> None:
    """Without an overlap, the best of one would be compared with the worst of the other."""
    assert findings.mean_distance(one, two) == pytest.approx(distance)
    assert findings.mean_distance(two, one) == pytest.approx(distance and -distance)


@pytest.mark.parametrize("copies", [1, 2], ids=["single runs", "equal runs"])
def test_a_factor_is_judged_at_equal_parameters(copies: int) -> None:
    """PSNR is 30 + 3 log2(width), and 2 dB more for laplacian at twice the parameters.

    Twice the parameters are worth 3 dB, of which laplacian has 2: it is 1 dB worse.
    """
    runs = []
    for pyramid, times, gain in (("gaussian", 1, 0.0), ("laplacian", 2, 2.0)):
        for width, image, _ in product((4, 8, 16), ("moon", "camera"), range(copies)):
            report = {"psnr_db": 30 + 3 * math.log2(width) + gain, "n_parameters": width * times}
            settings = {"pyramid": pyramid, "model.width": str(width)}
            runs.append(Result(Path(), "finished", "", settings, report=report, image=image))
    found = findings.difference_at_equal_size(Comparison(runs), *CLAIM[1:3], "laplacian")
    assert found is not None
    assert found.mean == pytest.approx(-1)
    assert (found.n_images, found.n_seeds) == (2, (1, 1))


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
