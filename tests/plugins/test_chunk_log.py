"""A callback and a logger from elsewhere, chosen beside those of a run."""

from pathlib import Path

import in_process
import pytest

MINE = f"hydra.searchpath=[file://{Path(__file__).parent}/conf]"


def test_a_callback_sees_chunks_and_a_logger_gets_the_numbers(tmp_path: Path) -> None:
    callbacks = "callbacks=[quality_curve,checkpoint,chunk_log,report]"
    report = in_process.run(tmp_path / "run", MINE, callbacks, "logger=text")
    chunks = [line.split() for line in (tmp_path / "run/chunks.txt").read_text().splitlines()]
    files = in_process.shards(tmp_path / "run")
    assert len(chunks) == len(files) > 2
    n_stored = {int(level): 0 for level, _, _ in chunks}
    for level, _, number in chunks:
        n_stored[int(level)] += int(number)
    assert n_stored == {one["level"]: one["n_active"] for one in report["levels"]}
    lines = (tmp_path / "run/numbers.txt").read_text().splitlines()
    numbers = {name: value for name, _, value in (line.partition(" ") for line in lines)}
    assert float(numbers["level/psnr_db"]) == pytest.approx(report["levels"][-1]["psnr_db"])
    assert numbers["patch_size"] == "10"
