"""Fits of a size are written as rows, and their means printed."""

import math
import sys
from pathlib import Path

import budget
import cv2
import numpy as np
import pytest
from rows import read_rows


def test_each_recipe_gets_a_row_and_a_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    values = (np.arange(64 * 64 * 3).reshape(64, 64, 3) % 251).astype(np.uint8)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "images" / name), values)
    monkeypatch.setattr(budget, "RESULTS", tmp_path / "rows.tsv")
    recipes = ["--recipe", "fitting.max_steps=2", "--recipe", "optimizer=adam fitting.max_steps=1"]
    words = [str(tmp_path / "images"), "--size", "0.5", "--crop", "32", "--seeds", "1", *recipes]
    monkeypatch.setattr(sys, "argv", ["budget.py", *words])
    budget.main()
    rows = read_rows(tmp_path / "rows.tsv")
    assert [row["recipe"] for row in rows] == ["", *recipes[1::2]] * 2
    assert {row["crop_px"] for row in rows} == {"32"}
    assert all(0 < float(row["n_parameters"]) <= 512 for row in rows)
    assert all(math.isnan(float(row["ms_ssim"])) for row in rows)  # it has five scales
    full, short, _ = (float(row["psnr_db"]) for row in rows[:3])
    assert full > short
    assert str(tmp_path) not in rows[0]["command"]
    shown = capsys.readouterr().out
    assert shown.count(": 2 fits") == 3 and shown.count(" dB ± ") == 2
