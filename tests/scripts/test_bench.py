"""The benchmark's commands measure small images and keep to the columns of results/."""

import sys
from pathlib import Path

import bench
import pytest
from rows import ROOT, read_header, read_rows


def measure(arguments: str, results: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The rows of a command, with the columns of its file in results/."""
    command, *others = arguments.split()
    monkeypatch.setattr(sys, "argv", ["bench.py", command, "--results", str(results), *others])
    bench.main()
    assert read_header(results) == read_header(ROOT / "results" / f"{command}.tsv")
    return read_rows(results)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "n_rows"),
    [
        ("quality IMAGES --job large", 2),
        ("scaling IMAGES --repeats 1", 5),
        ("ranks IMAGES/Road.jpg --repeats 1", 4),
        ("startup --repeats 1", 6),
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
