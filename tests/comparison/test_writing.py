"""The two files that a comparison writes, and the command that writes them."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_runs import write_content, write_killed, write_run, write_sweep, write_thumbnails

from miner.compare import main
from miner.comparison.comparison import Comparison
from miner.comparison.runs import read_results
from miner.comparison.writing import summary_lines, table, write_comparison

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def write(folder: Path) -> dict[str, str]:
    paths = write_comparison(read_results([folder]), folder)
    return {path.suffix[1:]: path.read_text() for path in paths}


def test_the_tab_separated_table_holds_every_number(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    comparison = Comparison(read_results([tmp_path]))
    columns, rows = table(comparison)
    written = list(csv.reader(write(tmp_path)["tsv"].splitlines(), delimiter="\t"))
    assert written[0] == columns
    assert written[1:] == [["" if cell is None else str(cell) for cell in row] for row in rows]
    assert columns[:6] == ["run", "image", "seed", "status", "pyramid", "model.width"]
    psnr = [float(row[columns.index("psnr_db")]) for row in written[1:]]
    assert psnr == [result.numbers["psnr_db"] for result in comparison.results]


def test_reasons_take_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "a", status="failed", reason="RuntimeError:\n\tout of memory")
    written = write(tmp_path)
    assert written["tsv"].count("\n") == 2
    assert "RuntimeError: out of memory" in written["tsv"]


def test_text_from_files_does_not_become_elements(tmp_path: Path) -> None:
    for folder, text in ((tmp_path / "plain", "x"), (tmp_path / "hostile", HOSTILE)):
        for n, name in enumerate(["<img src=x>&'\"", "b"]):
            overrides = [f"pyramid={text}{n}", f"{text}={n}", f"image={text}"]
            write_run(folder / name, overrides, **{text: 1.0 + n})
        write_run(folder / "c", status="failed", reason=text)
    plain, hostile = (write(tmp_path / name)["html"] for name in ("plain", "hostile"))
    assert re.findall("<[a-z/!]+", plain) == re.findall("<[a-z/!]+", hostile)


def test_file_names_that_are_not_utf8_are_written(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        write_run(folder / "a")
    except OSError:
        pytest.skip("this file system allows names in UTF-8 only")
    write_comparison(read_results([tmp_path, folder]), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("comparison.*"))) == 2


def test_thumbnails_are_in_the_page_which_names_nothing_outside_itself(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_thumbnails(write_run(tmp_path / name, [f"pyramid={name}"], curve=True))
    (tmp_path / "b" / "thumbnails" / "error.webp").unlink()
    write_run(tmp_path / "c", ["pyramid=c"])
    text = write(tmp_path)["html"]
    pictures = re.findall(
        r'<img loading="lazy" alt="(\w+)" [^>]*src="data:image/webp;base64,', text
    )
    assert pictures == ["reconstruction", "blocks", "error", "reconstruction", "blocks"]
    assert "default-src 'none'" in text
    assert not re.findall(
        r"<(?:script|iframe)[^>]*\ssrc=|<img[^>]*\ssrc=\"(?!data:)|<link[^>]*href=\"(?!data:)", text
    )


def test_means_are_over_seeds_first_and_show_who_lacks_an_image(tmp_path: Path) -> None:
    runs = [("a", "moon", 0, 30), ("a", "moon", 1, 32), ("a", "camera", 0, 41), ("b", "moon", 0, 9)]
    for n, (pyramid, image, seed, psnr) in enumerate(runs):
        overrides = [f"pyramid={pyramid}", f"image={image}", f"seed={seed}"]
        write_run(tmp_path / str(n), overrides, psnr_db=psnr)
    settings = write(tmp_path)["html"].split('id="settings-table"')[1].split("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in settings.split("<tr>")[2:]]
    assert [row[:4] for row in rows] == [["a", "2", "3", "36"], ["b", "1", "1", "9"]]


def test_failures_alone_are_written_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", ["pyramid=a"], status="failed", reason="too dark")
    write_killed(tmp_path / "b", ["pyramid=b"])
    write_content(tmp_path / "c", "{")
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "comparison.html").read_text()
    assert re.findall(r"<td class=.(failed|unfinished)", page) == ["failed", "unfinished", "failed"]
    assert capsys.readouterr().out.startswith("3 runs: 2 failed, 1 unfinished\n")


def test_one_run_is_written_too(tmp_path: Path) -> None:
    write_run(tmp_path, ["pyramid=a"], curve=True)
    written = write(tmp_path)
    assert "There is nothing to draw." in written["html"]
    assert written["tsv"].count("\n") == 2


@pytest.mark.slow
def test_a_search_over_many_values_is_written(tmp_path: Path) -> None:
    for n in range(120):
        write_run(tmp_path / f"{n}-aa", [f"lr={n + 1}e-4", f"omega={n * 7 % 120}"])
    written = write(tmp_path)
    assert written["html"].count("<tr>") == 2 * (1 + 120)


def test_the_command_prints_what_it_found_and_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(tmp_path / "sweep")
    assert main([str(tmp_path / "sweep")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "36 runs: 36 finished"
    assert lines[1].startswith("pyramid: laplacian − gaussian = +2.")
    assert lines[-1].endswith("comparison.html")
    assert (tmp_path / "sweep" / "comparison.html").exists()


def test_several_folders_are_compared_into_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_run(tmp_path / name / "0-aa", [f"pyramid={name}"])
    folders = [str(tmp_path / name) for name in ("one", "two")]
    assert main([*folders, "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "comparison.tsv").read_text()
    columns, *rows = csv.reader(text.splitlines(), delimiter="\t")
    assert [row[0] for row in rows] == [str(Path("one/0-aa")), str(Path("two/0-aa"))]
    assert "pyramid" in columns


def test_the_command_refuses_folders_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    message = f"error: {tmp_path}: holds no run; a run's folder has a report.json\n"
    assert capsys.readouterr().err == message
    write_run(tmp_path / "a")
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path), "--out", str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_imports_no_torch() -> None:
    code = (
        "import sys, miner.compare, miner.comparison.writing;"
        "print(*{'torch', 'plotly', 'itables', 'scipy', 'pandas', 'jinja2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_run_that_diverged_is_recognised_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, diverged in (("a", True), ("b", False)):
        write_run(tmp_path / name, [f"pyramid={name}"], diverged=diverged)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("2 runs: 1 diverged, 1 finished\n")
    _, *rows = csv.reader((tmp_path / "comparison.tsv").read_text().splitlines(), delimiter="\t")
    assert [row[3] for row in rows] == ["diverged", "finished"]
    page = (tmp_path / "comparison.html").read_text()
    assert re.findall(r'<td class="(diverged|finished)">\1<', page) == ["diverged", "finished"]


def test_a_run_that_diverged_counts_as_what_it_scored(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ["pyramid=a"], psnr_db=20.0, diverged=True)
    write_run(tmp_path / "b", ["pyramid=b"], psnr_db=30.0, diverged=False)
    comparison = Comparison(read_results([tmp_path]))
    assert "b − a = +10.0 dB (1 image x 1 seed)" in summary_lines(comparison)[1]
