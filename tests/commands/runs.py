"""Tiny runs on a picture of 24 x 20 pixels, which the tests of this folder share."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from omegaconf import DictConfig
from PIL import Image

import miner
from miner.models.network import Parameters
from miner.run import main

ROOT = Path(__file__).parents[2]
TINY = (
    "patch_size=8",
    "pyramid.n_levels=2",
    "level_selection=per_level",  # all levels have blocks
    "fitting.max_steps=3",
    "model.width=4",
    "logger=none",
    "trainer=cpu",
    "++callbacks.pictures=null",
)
WITH_PICTURES = (  # TINY leaves them out
    "callbacks.pictures={_target_:miner.callbacks.pictures.Pictures,dirpath:${paths.output_dir}}"
)
BeforeShard = Callable[[int, Path], None]
"""Called before a file of a shard is complete, with the number of those before it and its path."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    status: int
    output: str

    @property
    def lines(self) -> list[str]:
        """What it said, without empty lines."""
        return [line for line in self.output.splitlines() if line.strip()]


class DiskUsage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


Compose = Callable[..., DictConfig]
Fit = Callable[..., Path]
Command = Callable[..., Outcome]


def save_picture(path: Path) -> Path:
    """Write a smooth colour picture with some noise, 24 x 20 pixels."""
    rows, columns = np.mgrid[0:20, 0:24]
    smooth = np.stack([rows * 9, columns * 8, 255 - rows * 4 - columns * 3], axis=-1)
    noise = np.random.default_rng(0).integers(0, 24, smooth.shape)
    Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


def read_report(folder: Path) -> dict[str, Any]:
    """Read a run's report, refusing what is not JSON, such as NaN."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads((folder / "report.json").read_text(), parse_constant=refuse)


def numbers(folder: Path) -> list[Parameters]:
    shards = [shard for _, found in sorted(miner.load(folder).shards.items()) for shard in found]
    return [
        {name: tensor for own in shard.stored.values() for name, tensor in own.items()}
        | {"blocks": shard.blocks, "widths": shard.widths}
        for shard in shards
    ]


def same(folder: Path, other: Path) -> bool:
    """Whether two runs hold the same bits and report the same quality."""
    pairs = zip(numbers(folder), numbers(other), strict=True)
    reports = [read_report(one) for one in (folder, other)]
    return (
        all(torch.equal(one[name], two[name]) for one, two in pairs for name in one | two)
        and len({(r["psnr_db"], r["ssim"], r["n_parameters"]) for r in reports}) == 1
        and (folder / "reconstruction.png").read_bytes()
        == (other / "reconstruction.png").read_bytes()
    )


def run_main(folder: Path, *arguments: str) -> int:
    """Call the command in a folder as `python -m miner.run` does; gives its exit status."""
    with pytest.MonkeyPatch.context() as patch, _own_logging():
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["miner.run", *arguments])
        try:
            main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
    return 0


def finish_run(folder: Path, *overrides: str) -> Path:
    """Save a picture in a folder and do a tiny run of it there; gives the run's folder."""
    save_picture(folder / "picture.png")
    own = ("image.path=picture.png", "hydra.run.dir=run", *overrides)
    assert run_main(folder, *TINY, *own) == 0
    return folder / "run"


def begin_run(folder: Path, *overrides: str, config_dir: str | None = None) -> None:
    """Leave in a folder what Hydra writes there when a run of a sample starts."""
    sources = [{"provider": "main", "path": "conf"}]
    sources += [{"provider": "command-line", "path": config_dir}] if config_dir else []
    runtime = {"cwd": "/", "config_sources": sources}
    stored = {"overrides": {"task": list(overrides)}, "runtime": runtime}
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "hydra.yaml").write_text(yaml.dump({"hydra": stored}))
    (folder / ".hydra" / "config.yaml").write_text("image: {path: 'sample:moon'}")


def start_python(folder: Path, *arguments: str) -> Outcome:
    """Start Python in a folder, in another process."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    return Outcome(done.returncode, done.stdout + done.stderr)


def before_shards(patch: pytest.MonkeyPatch, act: BeforeShard) -> list[Path]:
    """Call `act` before each shard's file is complete; gives the files that were completed."""
    complete, written = os.replace, []

    def replace(source: Path, target: Path) -> None:
        is_shard = Path(target).suffix == ".safetensors"
        if is_shard:
            act(len(written), Path(target))
        complete(source, target)
        if is_shard:
            written.append(Path(target))

    patch.setattr(os, "replace", replace)
    return written


def count_shards(patch: pytest.MonkeyPatch) -> list[Path]:
    """The files of the shards that are written from now on."""
    return before_shards(patch, lambda n_before, path: None)


def stop_at_shard(patch: pytest.MonkeyPatch, number: int) -> None:
    """Press Ctrl-C before the shard of this number is complete."""

    def act(n_before: int, path: Path) -> None:
        if n_before == number:
            raise KeyboardInterrupt

    before_shards(patch, act)


@contextmanager
def _own_logging() -> Iterator[None]:
    """Undo what a command does to the logging of this process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers[:], root.level = handlers, level
        logging.captureWarnings(False)
