"""Fit on disks that are too small, enlarge them and go on; a row in results/full_disks.tsv.

sudo python scripts/fill_disks.py [--dry]

Each disk is a tmpfs of its own, which root alone can mount. The fit must end with status 1 and one
line that says so; resumed on the enlarged disk it must give the bits of a fit that had room.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from kill_runs import stored
from rows import ROOT, append_row, provenance

SIZES_KIB = (128, 512, 1024, 1536, 2048, 2560, 3072, 3584, 4096)
SETTINGS = (
    "image=coffee",
    "experiment=fast",
    "fitting.chunk_size=64",
    "trainer=cpu",
    "logger=csv",
)


def main() -> None:
    """Fill every disk, go on, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="write no row")
    arguments = parser.parse_args()
    origin = provenance("python scripts/fill_disks.py")
    row: dict[str, str | int | float | None] = {
        "disks": len(SIZES_KIB), "full": 0, "said_in_a_line": 0, "identical": 0,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole"
        run(whole)
        for size in SIZES_KIB:
            is_full, is_said, is_identical = try_disk(Path(scratch) / "disk", size, whole)
            print(f"{size} KiB: full {is_full}, said {is_said}, identical {is_identical}")
            row["full"] += is_full  # type: ignore[operator]
            row["said_in_a_line"] += is_said  # type: ignore[operator]
            row["identical"] += is_identical  # type: ignore[operator]
    print(row)
    if not arguments.dry:
        append_row(ROOT / "results" / "full_disks.tsv", row | origin)


def try_disk(disk: Path, size_kib: int, whole: Path) -> tuple[bool, bool, bool]:
    """Whether it became full, that was said in a line, and the fit ended well with more room."""
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", disk], check=True)
    try:
        status, said = run(disk / "run")
        lines = [line for line in said.splitlines() if "error" in line.lower()]
        is_said = len(lines) == 1 and "full" in lines[0] and "Traceback" not in said
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        finished, _ = run(disk / "run")
        numbers = zip(stored(disk / "run"), stored(whole), strict=True)
        is_identical = finished == 0 and all(torch.equal(one, other) for one, other in numbers)
        return status == 1, is_said, is_identical
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)  # tensors may be mapped


def run(folder: Path) -> tuple[int, str]:
    """Start a fit, or take it up; gives its status and all that it said."""
    command = [sys.executable, "-m", "miner.run", *SETTINGS, f"hydra.run.dir={folder}"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    main()
