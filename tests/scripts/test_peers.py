"""The rows and tables of sweeps of methods, from tiny runs."""

from pathlib import Path

import peers
import pytest
from rows import read_rows

from miner.run import main

RUN = ("trainer=cpu", "logger=none", "image=chelsea", "image.crop_px=24", "callbacks.pictures=null")


def test_each_run_is_one_row_however_often_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    for given in (["method=miner", "fitting.max_steps=3"], ["method=grid", "method.max_steps=3"]):
        words = ["-m", "seed=0,1", *given, *RUN, f"hydra.sweep.dir={folder / given[0][7:]}"]
        monkeypatch.setattr("sys.argv", ["miner.run", *words])
        main()
    monkeypatch.setattr(peers, "RESULTS", tmp_path / "peers.tsv")
    monkeypatch.setattr(peers, "FIGURE", tmp_path / "peers.svg")
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["peers.py", str(folder)])
        peers.main()
    rows = read_rows(tmp_path / "peers.tsv")
    assert sorted((row["method"], row["seed"]) for row in rows) == [
        *(("grid", "0"), ("grid", "1"), ("miner", "0"), ("miner", "1"))
    ]
    for row in rows:
        assert float(row["psnr_300_s"]) >= float(row["psnr_db"]) - 1e-3
    assert "grid − miner = " in capsys.readouterr().out
    assert (tmp_path / "peers.svg").read_text().startswith("<?xml")
