"""Small fits have the bits that were recorded on this kind of machine; comparing two commits."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from golden import compare, main, write_inputs
from record_golden import CASES, RECORDED, fit_case, machine_key

RESULT = {
    "representation/level00-chunk00000.safetensors": "ab",
    "psnr_db": 40.0,
    "ssim": None,
    "n_parameters": 7,
}


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    key = machine_key()
    entries = json.loads(RECORDED.read_text())
    found = [entry["cases"] for entry in entries if entry["key"] == key]
    if not found:
        pytest.skip(
            f"no digests were recorded for {key}: `python tests/golden/record_golden.py` adds "
            "them, on a commit whose results are right; scripts/golden.py compares two commits"
        )
    return found[0]


@pytest.mark.parametrize("case", CASES)
def test_a_fit_has_the_recorded_bits(case: str, recorded: dict[str, Any], tmp_path: Path) -> None:
    differing = compare({case: recorded[case]}, {case: fit_case(case, tmp_path)})
    assert not differing, "if the change of results is meant: python tests/golden/record_golden.py"


def changed(**values: Any) -> dict[str, Any]:
    return {"case": RESULT | values}


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (changed(**{"representation/level00-chunk00000.safetensors": "cd"}), "representation/"),
        (changed(**{"representation/level01-chunk00000.safetensors": "ab"}), "level01"),
        (changed(n_parameters=8), "n_parameters"),
        (changed(psnr_db=40.0 + 2e-6), "psnr_db"),
        (changed(ssim=0.5), "ssim"),
        ({}, "missing"),
        ({"case": {}}, "missing"),
        ({"case": {"failed": ["OSError: no space"]}}, "OSError: no space"),
        ({"case": {"failed": []}}, "failed"),
    ],
)
def test_a_difference_is_named_and_a_case_that_failed_is_not_equal(
    other: dict[str, Any], reason: str
) -> None:
    for pair in [(changed(), other), (other, changed())]:
        (found,) = compare(*pair).values()
        assert reason in found
    assert bool(compare(other, other)) == any("psnr_db" not in one for one in other.values())


def test_scores_may_differ_by_rounding() -> None:
    assert compare(changed(), changed(psnr_db=40.0 + 5e-10)) == {}
    assert compare(changed(psnr_db=float("inf")), changed(psnr_db=float("inf"))) == {}


def test_the_command_counts_equal_cases_and_names_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "a.json", tmp_path / "b.json"
    one.write_text(json.dumps(changed() | {"fast": RESULT}))
    other.write_text(json.dumps(changed(n_parameters=8) | {"fast": RESULT}))
    for second, printed in [
        (one, "2 of 2 cases equal\n"),
        (other, "1 of 2 cases equal\ncase: n_parameters\n"),
    ]:
        monkeypatch.setattr(sys, "argv", ["golden.py", "compare", str(one), str(second)])
        assert main() == (second is other)
        assert capsys.readouterr().out == printed


def test_inputs_are_the_same_at_each_call(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    contents = {path: path.read_bytes() for path in tmp_path.iterdir()}
    write_inputs(tmp_path)
    assert contents == {path: path.read_bytes() for path in tmp_path.iterdir()}
