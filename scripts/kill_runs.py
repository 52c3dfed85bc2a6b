"""Kill runs with SIGKILL, resume them and compare; a row for each place in results/kills.tsv.

python scripts/kill_runs.py [--trials 20] [--kills 3] [--dry]

A run is killed when it first calls each function of `PLACES`, and another one when it calls it for
the second time. Further trials kill a run at random moments of its whole time, one kill after the
other. Every killed run is resumed at last and must end with the representation, reconstruction and
quality of a run that was never stopped. `--dry` writes no row.
"""

import argparse
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rows import ROOT, Value, append_row, provenance

SETTINGS = (
    "image=camera",
    "image.crop_px=320",
    "fitting.blocks_per_shard=24",
    "fitting.coarse_ratio=1",
    "fitting.max_steps=150",
    "fitting.in_memory_mib=0",  # scratch arrays in files, as those of a large image
    "logger=none",
    "trainer=cpu",
)
PLACES = {  # the function that kills the process when it is called
    "image": "miner.images:open_image",
    "pyramid": "miner.pyramids.resample:reduce",
    "fit": "miner.fitting.chunk:gather",
    "write": "safetensors.torch:save",
    "rename": "pathlib:Path.replace",
    "level end": "miner.fitting.pyramid_fit:PyramidFit.finish_level",
    "evaluation": "miner.representation:load",
    "picture": "pyvips:SourceCustom.on_read",
    "report": "miner.support.run_files:write_report",
}
DEADLY_RUN = "import sys, kill_runs; kill_runs.run_until(sys.argv.pop(1), int(sys.argv.pop(1)))"


def main() -> None:
    """Kill, resume, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="runs killed at random moments")
    parser.add_argument("--kills", type=int, default=3, help="kills in each of them")
    parser.add_argument("--dry", action="store_true")
    options = parser.parse_args()
    origin = provenance(f"python scripts/kill_runs.py {' '.join(sys.argv[1:])}".strip())
    with tempfile.TemporaryDirectory() as folder:
        rows = try_all(Path(folder), options.trials, options.kills)
    for row in rows:
        print(row)
        if not options.dry:
            append_row(ROOT / "results" / "kills.tsv", row | origin)
    if any(row["identical"] != row["trials"] for row in rows):
        raise SystemExit("a resumed run differs from one that was never stopped")


def find(place: str) -> tuple[Any, str, Any]:
    """The owner of a place's function, its name there, and the function.

    Raises:
        SystemExit: there is no such function.
    """
    module, _, path = PLACES[place].partition(":")
    owner: Any = None
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            owner, found = found, getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise SystemExit(
            f"{place}: {PLACES[place]} does not exist ({error}); change PLACES in kill_runs.py"
        ) from None
    return owner, name, found


def run_until(place: str, count: int) -> None:
    """Run the command with this process's arguments; kill it at the count-th call of a place."""
    from miner.support.process import prepare

    prepare()
    importlib.import_module("miner.engine.train")  # and all that it imports
    owner, name, original = find(place)
    calls = 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, name, deadly)
    for module in [module for key, module in sys.modules.items() if key.startswith("miner.")]:
        for held in [held for held, value in vars(module).items() if value is original]:
            setattr(module, held, deadly)  # `from ... import name`
    from miner.run import main as run

    run()


def try_all(folder: Path, n_trials: int, n_kills: int) -> list[dict[str, Value]]:
    """All trials, in a folder; gives a row for each place and one for random moments."""
    for place in PLACES:
        find(place)
    began = time.perf_counter()
    start(folder / "whole").wait()
    seconds = time.perf_counter() - began
    rows = [try_place(folder, place) for place in PLACES]
    draw, found, identical = random.Random(0), Counter[str](), 0
    for trial in range(n_trials):
        run = folder / f"random-{trial}"
        for _ in range(n_kills):
            process = start(run)
            time.sleep(draw.uniform(0.5, seconds))
            process.kill()
            found[phase(run)] += process.wait() == -signal.SIGKILL
        identical += ends_like(run, folder / "whole")
    phases = ", ".join(f"{count} {name}" for name, count in sorted(found.items()) if count)
    total = found.total()
    return [*rows, make_row(f"at random: {phases}", n_trials, total, identical)]


def make_row(place: str, trials: int, kills: int, identical: int) -> dict[str, Value]:
    """What is stored of a place."""
    return {"place": place, "trials": trials, "kills": kills, "identical": identical}


def try_place(folder: Path, place: str) -> dict[str, Value]:
    """Kill a run at its first call, another one at its second; compare both with `folder/whole`."""
    killed, identical = 0, 0
    for count in (1, 2):
        run = folder / f"{place}-{count}"
        killed += start(run, place, str(count)).wait() == -signal.SIGKILL
        identical += ends_like(run, folder / "whole")
    return make_row(place, 2, killed, identical)


def start(run: Path, *killer: str, settings: Sequence[str] = SETTINGS) -> "subprocess.Popen[bytes]":
    """Start or resume a run; with `killer`, a place and a count, it kills itself there."""
    program = ["-c", DEADLY_RUN, *killer] if killer else ["-m", "miner.run"]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, *program, *settings, f"hydra.run.dir={run}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )


def ends_like(run: Path, whole: Path, settings: Sequence[str] = SETTINGS) -> bool:
    """Resume a run and compare what it leaves with what another one left."""
    return start(run, settings=settings).wait() == 0 and results(run) == results(whole)


def results(run: Path) -> list[Any]:
    """What must be the same: scores, the picture's bytes, and the digests of all shards."""
    from safetensors import safe_open

    report = json.loads((run / "report.json").read_text())
    found = [report[name] for name in ("psnr_db", "ssim", "n_parameters")]
    found.append((run / "reconstruction.png").read_bytes())
    for path in sorted((run / "representation").glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found += [path.name, file.metadata()["tensors_sha256"]]
    return found


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
