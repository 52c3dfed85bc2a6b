"""Kill runs with SIGKILL, resume them and compare; a row for each place in results/kills.tsv.

python scripts/kill_runs.py [--trials 20] [--kills 3] [--dry]

In each trial a run is killed at moments drawn at random over its whole time, resumed after each
kill and at last left to finish. Further trials kill it when it comes to each named place for the
first and the second time. Its representation, reconstruction and quality must be those of a run
that was never stopped. `--dry` writes no row.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from rows import ROOT, append_row, provenance

import miner

SETTINGS = (
    "image=camera",
    "image.crop_px=320",
    "fitting.blocks_per_shard=24",
    "fitting.coarse_ratio=1",
    "fitting.max_steps=150",
    "fitting.in_memory_mib=0",  # scratch arrays lie in files, as those of a large image
    "logger=none",
    "trainer=cpu",
)
PLACES = {  # what is called when the process kills itself: module, then the name in it
    "image": ("miner.engine.module", "open_image"),
    "pyramid": ("miner.fitting.pyramid_fit", "_reduce"),
    "fit": ("miner.fitting.level_fit", "gather"),
    "write": ("miner.representation.shard", "save"),
    "rename": ("pathlib", "Path.replace"),
    "level end": ("miner.fitting.pyramid_fit", "PyramidFit.finish_level"),
    "evaluation": ("miner.engine.train", "load"),
    "picture": ("miner.images.encode", "RawTiff.read"),
    "report": ("miner.engine.train", "write_report"),
}
STARTER = """
import sys
from miner.startup import prepare
prepare()
from miner.run import main
main()
"""
KILLER = """
import importlib, os, signal, sys
from miner.startup import prepare
prepare()
module, _, name = sys.argv[1].partition(":")
left = [int(sys.argv[2])]
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
original = getattr(owner, last)
def deadly(*arguments, **named):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **named)
setattr(owner, last, deadly)
del sys.argv[1:3]
"""


def main() -> None:
    """Kill, resume, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--dry", action="store_true")
    arguments = parser.parse_args()
    origin = provenance(f"python scripts/kill_runs.py {' '.join(sys.argv[1:])}".strip())
    with tempfile.TemporaryDirectory() as scratch:
        rows = try_all(Path(scratch), arguments.trials, arguments.kills)
    for row in rows:
        print(row)
        if not arguments.dry:
            append_row(ROOT / "results" / "kills.tsv", row | origin)
    if any(row["identical"] != row["trials"] for row in rows):
        raise SystemExit("a resumed run differs from one that was never stopped")


def try_all(folder: Path, n_trials: int, n_kills: int) -> list[dict[str, str | int]]:
    """All trials in a folder; gives a row for each place at which runs were killed."""
    began = time.perf_counter()
    start(folder / "whole").wait()
    seconds = time.perf_counter() - began
    rows: list[dict[str, str | int]] = []
    for place, target in PLACES.items():
        killed, identical = 0, 0
        for turn in (1, 2):
            run = folder / f"{place}-{turn}"
            process = start(run, ":".join(target), str(turn))
            killed += process.wait() == -9
            identical += finishes_like(run, folder / "whole")
        rows.append({"place": place, "trials": 2, "kills": killed, "identical": identical})
    draw, found = random.Random(0), Counter[str]()
    identical = 0
    for trial in range(n_trials):
        run = folder / f"random-{trial}"
        for _ in range(n_kills):
            process = start(run)
            time.sleep(draw.uniform(0.5, seconds))
            process.kill()
            found[phase(run)] += process.wait() == -9
        identical += finishes_like(run, folder / "whole")
    total = sum(found.values())
    phases = ", ".join(f"{count} {name}" for name, count in sorted(found.items()) if count)
    rows.append(
        {
            "place": f"at random: {phases}",
            "trials": n_trials,
            "kills": total,
            "identical": identical,
        }
    )
    return rows


def start(run: Path, *killer: str) -> "subprocess.Popen[bytes]":
    """Start a run, or take it up; with `killer`, a place and a count, it kills itself there."""
    program = (KILLER if killer else "") + STARTER
    command = [sys.executable, "-c", program, *killer, *SETTINGS, f"hydra.run.dir={run}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finishes_like(run: Path, whole: Path) -> bool:
    """Resume a run and compare what it leaves with what another one left."""
    if start(run).wait() != 0:
        return False
    reports = [json.loads((folder / "report.json").read_text()) for folder in (run, whole)]
    quality = [(r["psnr_db"], r["ssim"], r["n_parameters"]) for r in reports]
    pictures = [(folder / "reconstruction.png").read_bytes() for folder in (run, whole)]
    tensors = zip(stored(run), stored(whole), strict=True)
    return (
        quality[0] == quality[1]
        and pictures[0] == pictures[1]
        and all(torch.equal(one, other) for one, other in tensors)
    )


def stored(folder: Path) -> list[torch.Tensor]:
    """All numbers of a representation, in one order."""
    shards = [shard for _, found in sorted(miner.load(folder).shards.items()) for shard in found]
    tensors = [tensor for shard in shards for tensor in (shard.blocks, shard.widths)]
    for own in (own for shard in shards for own in shard.stored.values()):
        tensors += own.values()
    return tensors


def phase(run: Path) -> str:
    """How far a run had come, by the files it left."""
    if (run / "report.json").exists():
        return "after the report"
    manifest = run / "representation" / "manifest.json"
    if not manifest.exists():
        return "before the fit"
    levels = json.loads(manifest.read_text())["levels"]
    return "in evaluation" if "0" in levels else f"in the fit after {len(levels)} levels"


if __name__ == "__main__":
    main()
