"""Kill runs with SIGKILL, resume them and compare; a row for each function in results/kills.tsv.

python scripts/kill_runs.py [--trials 20] [--kills 3] [--dry]

A run is killed at its first call of each function of `FUNCTIONS`, another one at its second call.
Further trials kill a run several times at random moments. Every killed run is resumed and must end
with the representation, reconstruction and scores of a run that was never stopped. `--dry` writes
no row.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import pkgutil
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from golden import read_result
from rows import ROOT, Value, append_row, provenance

SETTINGS = (
    *("image=camera", "image.crop_px=320", "fitting.blocks_per_shard=24", "fitting.max_steps=150"),
    *("level_selection.coarse_ratio=1", "logger=none", "trainer=cpu"),
    "fitting.in_memory_mib=0",  # scratch arrays in files, as those of a large image
)
FUNCTIONS = {
    "image": "miner.images.source:open_image",
    "pyramid": "miner.pyramids.pyramid:Pyramid.reduce",
    "fit": "miner.fitting.patches:gather",
    "write": "safetensors.torch:save",
    "rename": "pathlib:Path.replace",
    "level end": "miner.fitting.pyramid_fit:PyramidFit.finish_level",
    "evaluation": "miner.metrics.scores:Evaluation.scores",
    "picture": "pyvips:Target.new_to_descriptor",
    "report": "miner.support.run_files:write_report",
}
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["miner.engine.train"])  # imports that take seconds, only once


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


def find(name: str) -> tuple[Any, str, Any]:
    """The module or class that has a function, the function's name there, and the function.

    Raises:
        ImportError, AttributeError: there is no such function.
    """
    place, attribute = re.split(r"[:.](?=\w+$)", FUNCTIONS[name])
    owner = pkgutil.resolve_name(place)
    return owner, attribute, getattr(owner, attribute)


def run_command(arguments: Sequence[str], name: str | None = None, count: int = 1) -> None:
    """Run the command in this process; kill it at a function's count-th call."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())
    sys.argv = ["miner.run", *arguments]
    if name is not None:
        kill_at(name, count)
    from miner.run import main as run

    run()


def kill_at(name: str, count: int) -> None:
    """Replace a function by one that kills this process at its count-th call."""
    importlib.import_module("miner.engine.train")  # and all that it imports
    owner, attribute, original = find(name)
    calls = 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, attribute, deadly)
    for module in [module for key, module in sys.modules.items() if key.startswith("miner.")]:
        for held in [held for held, value in vars(module).items() if value is original]:
            setattr(module, held, deadly)  # `from ... import name`


def try_all(folder: Path, n_trials: int, n_kills: int) -> list[dict[str, Value]]:
    """All trials, in a folder; gives a row for each function and one for random moments."""
    for name in FUNCTIONS:
        find(name)
    exit_code(start(folder / "whole"))
    began = time.perf_counter()
    exit_code(start(folder / "timed"))  # the first run waits for the imports of the server
    seconds = time.perf_counter() - began
    rows: list[dict[str, Value]] = []
    for name in FUNCTIONS:
        runs = {count: folder / f"{name}-{count}" for count in (1, 2)}
        codes = [exit_code(start(run, name, count)) for count, run in runs.items()]
        identical = sum(ends_like(run, folder / "whole") for run in runs.values())
        killed = codes.count(-signal.SIGKILL)
        rows.append({"place": name, "trials": 2, "kills": killed, "identical": identical})
    draw, phases, identical = random.Random(0), Counter[str](), 0
    for trial in range(n_trials):
        run = folder / f"random-{trial}"
        for _ in range(n_kills):
            process = start(run)
            time.sleep(draw.uniform(0.2, seconds))
            process.kill()
            phases[phase(run)] += exit_code(process) == -signal.SIGKILL
        identical += ends_like(run, folder / "whole")
    found = ", ".join(f"{count} {name}" for name, count in sorted(phases.items()) if count)
    row: dict[str, Value] = {"place": f"at random: {found}", "trials": n_trials}
    return [*rows, row | {"kills": phases.total(), "identical": identical}]


def start(run: Path, *killer: Any, settings: Sequence[str] = SETTINGS) -> ForkServerProcess:
    """Start or resume a run; with `killer`, a function and a count, it kills itself there."""
    arguments = [*settings, f"hydra.run.dir={run}"]
    process = SERVER.Process(target=run_command, args=(arguments, *killer))
    process.start()
    return process


def exit_code(process: ForkServerProcess) -> int | None:
    """How a process ended, once it has."""
    process.join()
    return process.exitcode


def ends_like(run: Path, whole: Path, settings: Sequence[str] = SETTINGS) -> bool:
    """Resume a run and compare what it leaves with what another one left."""
    is_complete = exit_code(start(run, settings=settings)) == 0
    return is_complete and read_result(run) == read_result(whole)


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
