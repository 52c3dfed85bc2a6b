"""Runs that are killed end as runs that are not."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from kill_runs import PLACES, SETTINGS, ends_like, find, phase, results, start, try_all

SMALL = (
    *SETTINGS,
    "image.crop_px=64",
    "fitting.max_steps=20",
    "fitting.blocks_per_shard=1",
    "pictures=false",
)


@pytest.mark.parametrize("place", PLACES)
def test_every_place_exists(place: str) -> None:
    owner, name, function = find(place)
    assert callable(function)
    assert getattr(owner, name) == function


@pytest.mark.parametrize("target", ["miner.gone:fit", "miner.images:gone", "pathlib:Path.gone"])
def test_a_place_that_does_not_exist_is_named(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLACES, "fit", target)
    with pytest.raises(SystemExit, match=f"fit: {target} does not exist"):
        try_all(tmp_path, n_trials=1, n_kills=1)
    assert not list(tmp_path.iterdir())  # found before the first run


def test_a_run_that_is_killed_while_it_writes_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    processes = [start(whole, settings=SMALL), start(run, "rename", "3", settings=SMALL)]
    assert [process.wait() for process in processes] == [0, -signal.SIGKILL]
    assert phase(run) != "after the report"
    assert ends_like(run, whole, SMALL)
    report = (run / "report.json").read_text()
    (run / "report.json").write_text(report.replace('"n_parameters": ', '"n_parameters": 1'))
    assert results(run) != results(whole)


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    rows = try_all(tmp_path, n_trials=2, n_kills=2)
    assert [row["identical"] for row in rows] == [row["trials"] for row in rows]
    assert len(rows) == len(PLACES) + 1
    assert all(int(str(row["kills"])) >= 1 for row in rows), rows
