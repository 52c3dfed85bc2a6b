"""Compare the stored tensors, scores and reconstructions of two commits, on one machine.

    python scripts/golden.py record TREE OUT.json [CASE ...]    run the cases in a checkout
    python scripts/golden.py compare A.json B.json              name the cases that differ

Bits depend on the processor, the threads, the compiler and the versions of the libraries, so record
both commits on one machine, each with its own copy of this script. tests/golden compares a few fits
with digests that are kept in the repository.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from safetensors import safe_open

Result = dict[str, Any]
Settings = Mapping[str, Any]

BASE = (
    "image=astronaut image.crop_px=150 pyramid.n_levels=3 fitting.max_steps=40 "
    "fitting.max_mse=1e-5 logger=none level_selection=per_level"
)
OPTIONS = {  # each value is a case of that name
    "activation": "siren_raw sine gaussian relu gabor finer",
    "optimizer": "adamw radam nadam",
    "storage": "float16 int8",
    "pruning": "plateau never",
    "pyramid": "laplacian",
    "readout": "learned",
    "encoding": "positional",
    "capacity": "budget",
    "backend": "eager",
    "experiment": "fast",
}
RUNS = {value: f"{name}={value}" for name, values in OPTIONS.items() for value in values.split()}
RUNS |= {
    "default": "",
    "one_level": "pyramid.n_levels=1 image=coffee",
    "no_encoding": "encoding=none",
    "learned_laplacian": "readout=learned pyramid=laplacian",
    "uniform": "capacity=uniform model.width=[14,9]",
    "shared": "weights=shared capacity=uniform",
    "parent_frame": "weights=parent_frame capacity=uniform",
    "mse": "loss=mse schedule=exponential",
    "deep": "model.depth=3",
    "drawn_pixels": "fitting.batch_pixels=100",
    "eager_int8": "backend=eager storage=int8 readout=learned",
    "small_shards": "fitting.blocks_per_shard=5",
    "grey": "image=camera",
    "patch16": "patch_size=16",
    "seed": "seed=7",
    "paper": "experiment=paper pyramid.n_levels=4 fitting.max_steps=20",
    "pluto": "experiment=miner_pl_pluto fitting.max_steps=20",
    "scratch": "fitting.in_memory_mib=0",
    "adaptive": "level_selection=adaptive fitting.max_mse=1e-3",
    "two_ranks": "trainer=ddp fitting.blocks_per_shard=5",
}
FILES = {"alpha": "alpha.png", "sixteen_bit": "sixteen_bit.png", "exr": "float.exr"}
SCORES = ("psnr_db", "ssim", "seam_ratio")
EXACT = ("n_parameters", "image_sha256")
TOLERANCE = 1e-6  # of scores

OF_TYPE = {"image.range": "dtype", "level_selection": "per_level"}
SHORT = {"patch_size": 8, "capacity": "uniform", "model.width": 3, "fitting.max_steps": 3} | OF_TYPE
BY_TRITON = SHORT | {"backend._target_": "miner.kernels.backend.TritonBackend"}
FITS: dict[str, tuple[str, dict[str, Settings]]] = {  # array, and folder of each fit: its settings
    "volume": (
        "volume.npy",
        {".": {"patch_size": 8, "fitting.max_steps": 30, "image.axes": "CDHW"} | OF_TYPE},
    ),
    "triton": (
        "noise.npy",
        {"0": BY_TRITON, "1": BY_TRITON | {"readout": "learned", "fitting.batch_pixels": 20}},
    ),
}
FIT = """
import json, sys, numpy, torch, miner
torch.set_num_threads(1)
for folder, settings in json.loads(sys.argv[3]).items():
    miner.fit(numpy.load(sys.argv[1]), **settings).save(f"{sys.argv[2]}/{folder}")
"""


def write_inputs(folder: Path) -> None:
    """A transparent, a 16 bit and a float picture, and arrays; the same on every machine."""
    rows, columns = np.meshgrid(np.linspace(0, 4, 90), np.linspace(0, 5, 110), indexing="ij")
    waves = [np.sin(k * rows + columns**2 / k) for k in (1, 2, 3, 4)]
    picture = 0.5 + 0.45 * np.stack(waves, axis=-1)
    cv2.imwrite(str(folder / "alpha.png"), (255 * picture).round().astype(np.uint8))
    sixteen = (65535 * picture[..., :3]).round().astype(np.uint16)
    cv2.imwrite(str(folder / "sixteen_bit.png"), sixteen)
    channels = {"RGB": np.ascontiguousarray(4 * picture[..., :3]).astype(np.float32)}
    with OpenEXR.File({}, channels) as file:
        file.write(str(folder / "float.exr"))
    x, y, z = np.meshgrid(*(np.linspace(0, 3, n) for n in (20, 17, 9)), indexing="ij")
    volume = (0.5 + 0.3 * np.sin(4 * x + y**2) * np.cos(z))[None]
    np.save(folder / "volume.npy", volume.astype("float32"))
    np.save(folder / "noise.npy", np.random.default_rng(0).random((1, 8, 11), dtype=np.float32))
    np.save(folder / "picture.npy", picture[:41, :50, :3].transpose(2, 0, 1).astype("float32"))


def start(tree: Path, *program: object, **environment: str) -> "subprocess.Popen[str]":
    """Start Python in a checkout, with one thread."""
    return subprocess.Popen(
        [sys.executable, *map(str, program)],
        cwd=tree,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def start_case(tree: Path, name: str, inputs: Path, out: Path) -> "subprocess.Popen[str]":
    """Start a case in a checkout; Triton's programs are interpreted."""
    if name in FITS:
        array, fits = FITS[name]
        program = "-c", FIT, inputs / array, out, json.dumps(fits)
        return start(tree, *program, TRITON_INTERPRET="1")
    files = {case: f"image.path={inputs / file}" for case, file in FILES.items()}
    chosen = (RUNS | files | {"resumed": "fitting.blocks_per_shard=5"})[name]
    settings = dict(setting.split("=", 1) for setting in f"{BASE} {chosen}".split())
    command = ["-m", "miner.run", *(f"{key}={value}" for key, value in settings.items())]
    process = start(tree, *command, f"hydra.run.dir={out}")
    if name == "resumed":  # killed when its second shard is stored, then started again
        while process.poll() is None and len(list(out.glob("representation/*.safetensors"))) < 2:
            time.sleep(0.002)
        process.kill()
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError("the run ended before it could be killed")
        process = start(tree, *command, f"hydra.run.dir={out}")
    return process


def read_result(out: Path) -> Result:
    """What is compared: digests of all stored tensors and of the reconstruction, the scores."""
    found: Result = {}
    for path in sorted(out.rglob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found[str(path.relative_to(out))] = file.metadata()["tensors_sha256"]
    for path in out.glob("reconstruction.*"):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    if (out / "report.json").exists():
        report = json.loads((out / "report.json").read_text())
        found |= {name: report[name] for name in (*SCORES, *EXACT)}
    return found


def record(tree: Path, names: list[str]) -> dict[str, Result]:
    """Run cases, all if none is named; of one that fails, the last line is kept."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder))
        for name in names or (*RUNS, *FILES, "resumed", *FITS):
            out = Path(folder) / name
            process = start_case(tree, name, Path(folder), out)
            _, messages = process.communicate()
            failed = {"failed": messages.strip().splitlines()[-1:]}
            results[name] = failed if process.returncode else read_result(out)
            print(name, results[name].get("failed", ""), flush=True)
    return results


def difference(one: Result, other: Result) -> str:
    """How two results differ, scores by more than 1e-6; empty if they are equal."""
    for result in (one, other):
        if not result or "failed" in result:
            return " ".join(result.get("failed", ["missing"])) or "failed"
    differing = {name for name in one | other if one.get(name) != other.get(name)}
    for name in differing.intersection(SCORES):
        first, second = one.get(name), other.get(name)
        if first is not None and second is not None and abs(first - second) <= TOLERANCE:
            differing.remove(name)
    return " ".join(sorted(differing))


def compare(one: dict[str, Result], other: dict[str, Result]) -> dict[str, str]:
    """The cases that differ, and how."""
    found = {name: difference(one.get(name, {}), other.get(name, {})) for name in one | other}
    return {name: how for name, how in found.items() if how}


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("tree", type=Path)
    recording.add_argument("out", type=Path)
    recording.add_argument("cases", nargs="*")
    comparing = commands.add_parser("compare")
    comparing.add_argument("files", type=Path, nargs=2)
    options = parser.parse_args()
    if options.command == "record":
        earlier = json.loads(options.out.read_text()) if options.out.exists() else {}
        found = earlier | record(options.tree.resolve(), options.cases)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        return int(any("failed" in result for result in found.values()))
    one, other = (json.loads(path.read_text()) for path in options.files)
    differing = compare(one, other)
    print(f"{len(one | other) - len(differing)} of {len(one | other)} cases equal")
    for name, how in differing.items():
        print(f"{name}: {how}")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
