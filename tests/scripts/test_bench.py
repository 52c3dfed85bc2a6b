"""The benchmark's commands measure small images and keep to the columns of results/."""

import sys
from pathlib import Path

import bench
import bench_times
import numpy as np
import pytest
from rows import ROOT, read_header, read_rows

import miner


def measure(arguments: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The rows of a command, with the columns of its file in results/."""
    command, *others = arguments.split()
    monkeypatch.setattr(sys, "argv", ["bench.py", command, "--results", str(results), *others])
    bench.main()
    kept = "wall_stages" if "--profile" in others else command
    assert read_header(results) == read_header(ROOT / "results" / f"{kept}.tsv")
    return read_rows(results)


@pytest.mark.slow
def test_memory_and_scratch_space_are_measured(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = "--override fitting.max_steps=5 --override callbacks.pictures=null"
    (row,) = measure(
        f"memory {images}/Road.jpg --folder {tmp_path} {short}", tmp_path / "rows.tsv", monkeypatch
    )
    assert 0.1 < float(row["peak_memory_gib"]) < float(row["limit_gib"])
    assert [path.name for path in tmp_path.iterdir()] == ["rows.tsv"]  # the run is removed


def test_scratch_bytes_are_those_of_scratch_files(tmp_path: Path) -> None:
    for name in ("run/.miner-scratch", "run/representation"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(bytes(100_000))
    assert 100_000 <= bench.scratch_bytes(tmp_path) < 200_000


def test_a_fit_that_fails_ends_the_benchmark(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(SystemExit, match=r"a fit ended with 1: .*patch_size=0"),
        bench.fit(images / "Road.jpg", ["patch_size=0"], tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_points_of_a_stored_run_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = miner.fit(np.eye(16), patch_size=8, fitting={"max_steps": 1})
    run = shown.save(tmp_path / "run")
    rows = measure(f"points {run} --repeats 1", tmp_path / "rows.tsv", monkeypatch)
    assert [row["megapixels"] for row in rows] == ["0.000256"] * 3
    assert all(0 < float(row["median_s"]) <= float(row["worst_s"]) for row in rows)


@pytest.mark.slow
def test_wall_time_is_split_into_fit_imports_and_the_rest(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = measure(f"wall {images} --job 72mp --repeats 1", tmp_path / "rows.tsv", monkeypatch)
    wall, fit, bare, rest = (float(row[f"{n}_s"]) for n in ("wall", "fit", "bare", "overhead"))
    assert rest == pytest.approx(wall - fit - bare, abs=1e-3 * wall)
    assert (row["job"], row["repeats"]) == ("72mp", "1")
    assert row["command"].endswith(" logger=csv image.path=caliterra_mosaic_8000x9000.jpg")


def test_jobs_of_a_sweep_are_added_up_and_removed(tmp_path: Path) -> None:
    write = "import json, pathlib as p; f = p.Path('outputs', {0!r}); f.mkdir(parents=True); "
    write += "(f / 'report.json').write_text(json.dumps(dict(fit_time_s=1.5)))"
    command = "; ".join(write.format(job) for job in ("0-a", "1-b"))
    assert bench_times.run_in(tmp_path, ["-c", command])[1] == 3
    assert not list(tmp_path.iterdir())


STACKS = """\
thread (7);_run_module_as_main (<frozen runpy>:198);_find_spec (<frozen importlib._bootstrap>:1) 1
thread (7): MainThread;<module> (miner/run.py:75);_find_and_load (<frozen importlib._bootstrap>:1) 9
thread (7): MainThread;main (miner/run.py:65);OmegaConf.load (omegaconf/omegaconf.py:192) 8
thread (7): MainThread;_task (miner/run.py:3);PyramidFit.__init__ (miner/fitting/pyramid_fit.py:8) 7
thread (7): MainThread;PyramidFit.render (miner/fitting/pyramid_fit.py:9);mean (torch/a.py:1) 6
thread (7): MainThread;fit_blocks (miner/fitting/block_fit.py:126);Condition.wait (threading.py:3) 5
thread (7): MainThread;main (miner/run.py:65);Trainer.fit (pytorch_lightning/trainer/trainer.py:8) 4
thread (7): MainThread 3
thread (8): pool-1_0;run (threading.py:9);run.<locals>.run_blocks (miner/kernels/cpu/trainer.py:6) 2
thread (8): pool-1_0;run (threading.py:9);_worker (concurrent/futures/thread.py:81) 20
thread (9): wandb;run (threading.py:9);f (wandb/a.py:1);EpollSelector.select (selectors.py:4) 30
thread (9) 1
"""


def test_samples_are_of_the_stage_of_their_innermost_frame() -> None:
    found = bench_times.count_samples(STACKS.splitlines())
    main = {"imports": 10, "composing": 8, "pyramid": 7, "rendering": 6, "fit": 5, "other": 4}
    main |= {"exit": 3}
    assert {stage: counts[0] for stage, counts in found.items() if counts[0]} == main
    assert {stage: counts[1] for stage, counts in found.items() if counts[1]} == main | {"fit": 2}


def test_profile_of_a_command_without_a_report_is_refused(tmp_path: Path) -> None:
    command = ["-c", "import time; time.sleep(1)"]
    with pytest.raises(SystemExit, match="left no report"):
        list(bench_times.stage_seconds(command, tmp_path, 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "n_rows"),
    [
        ("quality IMAGES --job large", 2),
        ("scaling IMAGES --repeats 1", 5),
        ("ranks IMAGES/Road.jpg --repeats 1", 4),
        ("startup --repeats 1", 6),
        ("wall IMAGES --job 72mp --profile", 13),
    ],
)
def test_rows_have_the_columns_of_the_results(
    arguments: str, n_rows: int, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = arguments.replace("IMAGES", str(images))
    rows = measure(arguments, tmp_path / "rows.tsv", monkeypatch)
    assert len(rows) == n_rows
    if arguments.startswith("ranks"):
        assert {row["same_bits"] for row in rows} == {"True"}
    if "--profile" in arguments:
        assert float(rows[1]["main_s"]) > 0 and rows[1]["stage"] == "imports"
