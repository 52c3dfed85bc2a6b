"""Run the ready-made ablations and write a row for each of their jobs to results/ablations/*.tsv.

python scripts/run_ablations.py                       all of them
python scripts/run_ablations.py --only pyramid        one of them
python scripts/run_ablations.py --folder FOLDER       where the sweeps go (outputs/ablations)

Started again with the same folder it goes on where it was: finished jobs are not run again.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rows import ROOT, Value, append_row, provenance

from miner.support.run_files import read_report

ABLATIONS = {
    "pyramid": ["experiment=ablation/pyramid"],
    "weights": ["experiment=ablation/weights"],
    "optimizer": ["experiment=ablation/optimizer"],
    "activation": ["experiment=ablation/activation"],
    # The pyramids again, with the reference's activation and encoding.
    "pyramid_gaussian": [
        "experiment=ablation/pyramid",
        "activation=gaussian",
        "encoding=positional",
        "fitting.coarse_ratio=1",
    ],
    # The README's example, with the default recipe.
    "example": [
        "pyramid=gaussian,laplacian",
        "image=hubble,retina,coffee",
        "image.crop_px=256",
        "seed=0,1,2",
    ],
}
NUMBERS = ("psnr_db", "ssim", "n_parameters", "bits_per_pixel", "fit_time_s")
EARLY_STEPS = (50, 150)  # of the finest level


def main() -> None:
    """Run the ablations that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(ABLATIONS), action="append", help="default: all")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "ablations")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "ablations")
    arguments = parser.parse_args()
    for name in arguments.only or ABLATIONS:
        settings = [*ABLATIONS[name], "hydra/launcher=joblib", "logger=none"]
        sweep = arguments.folder / name
        origin = begun(sweep, provenance(" ".join(["python -m miner.run -m", *settings])))
        command = [sys.executable, "-m", "miner.run", "-m", *settings, f"hydra.sweep.dir={sweep}"]
        done = subprocess.run(command, cwd=ROOT, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{name}: jobs failed, see {sweep}/comparison.md")
        write_rows(sweep, arguments.results / f"{name}.tsv", origin)


def begun(sweep: Path, origin: dict[str, Value]) -> dict[str, Value]:
    """The origin that a sweep was begun with; it cannot go on with other code."""
    path = sweep / "origin.json"
    if not path.exists():
        sweep.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(origin))
    stored: dict[str, Value] = json.loads(path.read_text())
    if stored["commit"] != origin["commit"]:
        raise SystemExit(
            f"{sweep}: was begun with commit {stored['commit']}, this is {origin['commit']}; "
            "name another --folder"
        )
    return stored


def write_rows(sweep: Path, path: Path, origin: Mapping[str, Value]) -> None:
    """Write the table of a sweep anew."""
    path.unlink(missing_ok=True)
    found = [report for report in map(read_report, sorted(sweep.glob("*-*"))) if report]
    for report in sorted(found, key=lambda report: list(report["overrides"])):
        chosen = dict(override.split("=", 1) for override in report["overrides"])
        for key in ("experiment", "logger"):
            chosen.pop(key, None)
        numbers: dict[str, Value] = {name: report[name] for name in NUMBERS}
        early: dict[str, Value] = {
            f"psnr_db_after_{steps}": after(report["curve"], steps) for steps in EARLY_STEPS
        }
        append_row(path, {**chosen, **numbers, **early, **origin})


def after(curve: Mapping[str, Sequence[Any]], steps: int) -> float:
    """PSNR of the finest level after so many of its steps, as measured in training."""
    finest = [
        (step, psnr)
        for level, step, psnr in zip(curve["level"], curve["step"], curve["psnr_db"], strict=True)
        if level == 0
    ]
    reached = [psnr for step, psnr in finest if step - finest[0][0] <= steps]
    return float(reached[-1])


if __name__ == "__main__":
    main()
