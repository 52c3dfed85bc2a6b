"""Compare the stored tensors, scores and reconstructions of two commits, on one machine.

    python scripts/golden.py record TREE OUT.json [CASE ...]    run the cases in a checkout
    python scripts/golden.py compare A.json B.json              name the cases that differ

Bits depend on the processor, its threads, the compiler and the versions of the libraries, so record
both commits on one machine, each with its own copy of this script.
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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
from safetensors import safe_open

BASE = {
    "image": "astronaut",
    "image.crop_px": "150",
    "pyramid.n_levels": "3",
    "fitting.max_steps": "40",
    "fitting.max_mse": "1e-5",
    "logger": "none",
}
RUNS = {
    "default": "",
    "laplacian": "pyramid=laplacian",
    "one_level": "pyramid.n_levels=1 image=coffee",
    "siren_raw": "activation=siren_raw",
    "sine": "activation=sine",
    "gaussian": "activation=gaussian",
    "relu": "activation=relu",
    "gabor": "activation=gabor",
    "finer": "activation=finer",
    "no_encoding": "encoding=none",
    "positional": "encoding=positional",
    "learned": "readout=learned",
    "learned_laplacian": "readout=learned pyramid=laplacian",
    "uniform": "capacity=uniform model.width=[14,9]",
    "budget": "capacity=budget",
    "shared": "weights=shared capacity=uniform",
    "parent_frame": "weights=parent_frame capacity=uniform",
    "float16": "storage=float16",
    "int8": "storage=int8",
    "adamw": "optimizer=adamw",
    "radam": "optimizer=radam",
    "nadam": "optimizer=nadam",
    "plateau": "pruning=plateau",
    "never": "pruning=never",
    "mse": "loss=mse schedule=exponential",
    "deep": "model.depth=3",
    "drawn_pixels": "fitting.batch_pixels=100",
    "eager": "backend=eager",
    "eager_int8": "backend=eager storage=int8 readout=learned",
    "small_shards": "fitting.blocks_per_shard=5",
    "grey": "image=camera",
    "patch16": "patch_size=16",
    "seed": "seed=7",
    "fast": "experiment=fast",
    "paper": "experiment=paper pyramid.n_levels=4 fitting.max_steps=20",
    "pluto": "experiment=miner_pl_pluto fitting.max_steps=20",
    "scratch": "fitting.in_memory_mib=0",
    "two_ranks": "trainer=ddp fitting.blocks_per_shard=5",
}
FILES = {"alpha": "alpha.png", "sixteen_bit": "sixteen_bit.png", "exr": "float.exr"}
SCORES = ("psnr_db", "ssim", "seam_ratio")
EXACT = ("n_parameters", "image_sha256")

VOLUME = """
import sys, numpy as np, torch, miner
torch.set_num_threads(1)
axes = np.meshgrid(*(np.linspace(0, 3, n) for n in (20, 17, 9)), indexing="ij")
volume = (0.5 + 0.3 * np.sin(4 * axes[0] + axes[1] ** 2) * np.cos(axes[2]))[None]
miner.fit(volume.astype("float32"), patch_size=8, fitting={"max_steps": 30}).save(sys.argv[1])
"""
TRITON = """
import sys, numpy as np, torch
torch.set_num_threads(1)
from miner.api import compose_settings
from miner.config.build import build_settings
from miner.fitting.pyramid_fit import PyramidFit, fit_pyramid, make_spec
from miner.kernels.backend import TritonBackend
from miner.images import PixelFormat
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal
from miner.signals.store import LocalSignalStore
from dataclasses import replace
image = np.random.default_rng(0).random((1, 8, 11), dtype=np.float32)
chosen = {"patch_size": 8, "capacity": "uniform", "model.width": 3, "fitting.max_steps": 3}
for number, more in enumerate(({}, {"readout": "learned", "fitting.batch_pixels": 20})):
    settings = replace(build_settings(compose_settings(chosen | more)), backend=TritonBackend())
    spec = make_spec(image.shape[1:], PixelFormat.of_values("float32", 1), settings)
    store = LocalSignalStore(torch.device("cpu"), Scratch(None))
    fit = PyramidFit(ArraySignal(image), spec, settings, store)
    fit_pyramid(fit).save(f"{sys.argv[1]}/{number}")
"""


def write_images(folder: Path) -> None:
    """A transparent, a 16 bit and a float picture, the same on every machine."""
    rows, columns = np.meshgrid(np.linspace(0, 4, 90), np.linspace(0, 5, 110), indexing="ij")
    waves = [np.sin(k * rows + columns**2 / k) for k in (1, 2, 3, 4)]
    picture = 0.5 + 0.45 * np.stack(waves, axis=-1)
    cv2.imwrite(str(folder / "alpha.png"), (255 * picture).round().astype(np.uint8))
    sixteen = (65535 * picture[..., :3]).round().astype(np.uint16)
    cv2.imwrite(str(folder / "sixteen_bit.png"), sixteen)
    channels = {"RGB": np.ascontiguousarray(4 * picture[..., :3]).astype(np.float32)}
    with OpenEXR.File({}, channels) as file:
        file.write(str(folder / "float.exr"))


def arguments(settings: str, out: Path) -> list[str]:
    """The arguments of a run: those of all cases, and a case's own."""
    own = dict(word.split("=", 1) for word in settings.split())
    return [f"{name}={value}" for name, value in (BASE | own).items()] + [f"hydra.run.dir={out}"]


def start(tree: Path, program: list[str], **environment: str) -> "subprocess.Popen[str]":
    """Start Python in a checkout, with one thread."""
    return subprocess.Popen(
        [sys.executable, *program],
        cwd=tree,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def run(tree: Path, settings: str, out: Path) -> "subprocess.Popen[str]":
    """A run by the command."""
    return start(tree, ["-m", "miner.run", *arguments(settings, out)])


def killed_and_resumed(tree: Path, out: Path) -> "subprocess.Popen[str]":
    """A run that is killed when its second shard is there, then started again."""
    program = ["-m", "miner.run", *arguments("fitting.blocks_per_shard=5", out)]
    process = start(tree, program)
    while process.poll() is None and len(list(out.glob("representation/*.safetensors"))) < 2:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode != -signal.SIGKILL:
        raise RuntimeError("the run ended before it could be killed")
    return start(tree, program)


def cases(tree: Path, images: Path) -> dict[str, Callable[[Path], "subprocess.Popen[str]"]]:
    """How each case is started in a checkout, by its name."""
    settings = RUNS | {name: f"image.path={images / file}" for name, file in FILES.items()}
    found: dict[str, Callable[[Path], subprocess.Popen[str]]] = {
        name: partial(run, tree, own) for name, own in settings.items()
    }
    return found | {
        "resumed": lambda out: killed_and_resumed(tree, out),
        "volume": lambda out: start(tree, ["-c", VOLUME, str(out)]),
        "triton": lambda out: start(tree, ["-c", TRITON, str(out)], TRITON_INTERPRET="1"),
    }


def found_in(out: Path) -> dict[str, Any]:
    """What is compared: digests of all stored tensors and of the reconstruction, the scores."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found[str(path.relative_to(out))] = file.metadata()["tensors_sha256"]
    for path in out.glob("reconstruction.*"):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    if (out / "report.json").exists():
        report = json.loads((out / "report.json").read_text())
        found |= {name: report[name] for name in (*SCORES, *EXACT)}
    return found


def record(tree: Path, names: list[str]) -> dict[str, Any]:
    """Run cases, all if none is named; a case that fails has its last words."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        known = cases(tree, Path(folder))
        for name in names or known:
            out = Path(folder) / name
            process = known[name](out)
            _, words = process.communicate()
            failed = {"failed": words.strip().splitlines()[-1:]}
            results[name] = failed if process.returncode else found_in(out)
            print(name, results[name].get("failed", ""), flush=True)
    return results


def is_equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether digests are the same, and scores within 1e-9."""
    if one.keys() != other.keys() or not one or "failed" in one:
        return False
    scores = [(one[name], other[name]) for name in SCORES if name in one]
    close = all(a == b or (a and b and abs(a - b) <= 1e-9) for a, b in scores)
    return close and all(one[name] == other[name] for name in one if name not in SCORES)


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
    differing = sorted(n for n in one | other if not is_equal(one.get(n, {}), other.get(n, {})))
    print(f"{len(one | other) - len(differing)} of {len(one | other)} cases equal", *differing)
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
