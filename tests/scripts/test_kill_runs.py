"""Runs that are killed end as runs that are not."""

import signal
from pathlib import Path

import pytest
from golden import read_result
from kill_runs import FUNCTIONS, SETTINGS, ends_like, exit_code, find, phase, start, try_all

SMALL = (
    *(*SETTINGS, "image.crop_px=48", "patch_size=24", "fitting.max_steps=5"),
    *("fitting.blocks_per_shard=1", "pyramid.n_levels=2", "callbacks.pictures=null"),
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_exists(name: str) -> None:
    assert callable(find(name)[-1])


@pytest.mark.parametrize("target", ["miner.gone:fit", "miner.images:gone", "pathlib:Path.gone"])
def test_a_function_that_does_not_exist_is_named(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FUNCTIONS, "fit", target)
    with pytest.raises((ImportError, AttributeError), match="gone"):
        try_all(tmp_path, n_trials=1, n_kills=1)
    assert not list(tmp_path.iterdir())  # found before the first run


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_writes_ends_with_the_same_bits(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert exit_code(start(run, "rename", 3, settings=SMALL)) == -signal.SIGKILL
    assert phase(run) != "after the report"
    whole = tmp_path / "whole"
    assert exit_code(start(whole, settings=SMALL)) == 0
    assert ends_like(run, whole, SMALL)
    report = (run / "report.json").read_text()
    (run / "report.json").write_text(report.replace('"n_parameters": ', '"n_parameters": 1'))
    assert read_result(run) != read_result(whole)


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bits(tmp_path: Path) -> None:
    rows = try_all(tmp_path, n_trials=2, n_kills=2)
    assert [row["identical"] for row in rows] == [row["trials"] for row in rows]
    assert len(rows) == len(FUNCTIONS) + 1
    assert all(int(str(row["kills"])) >= 1 for row in rows), rows
