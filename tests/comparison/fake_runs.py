"""Folders as runs leave them, written without a run."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from miner.comparison.writing import THUMBNAILS


def write_run(
    folder: Path,
    overrides: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
    curve: bool = False,
    **fields: Any,
) -> Path:
    """A finished run's report; `fields` replace its numbers, None among them."""
    given = dict(override.split("=", 1) for override in overrides)
    image, seed = given.get("image", "camera"), int(given.get("seed", 0))
    report: dict[str, Any] = {
        "report_version": 2,
        "status": "finished",
        "image": image,
        "image_sha256": f"content of {image}",
        "psnr_db": 30.0,
        "ssim": 0.9,
        "n_parameters": 1000,
        "bits_per_pixel": 2.5,
        "fit_time_s": 1.5,
        "wall_time_s": 3.0,
        "peak_memory_gib": 0.5,
        "seed": seed,
        "overrides": list(overrides),
        "settings": {"choices": {}, "config": config or {}},
    }
    report.update(fields)
    if curve:
        report["curve"] = a_curve(report["psnr_db"] or 60.0)
    return write_content(folder, json.dumps(report, default=list))


def write_content(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(content)
    return folder


def write_killed(folder: Path, overrides: Sequence[str]) -> Path:
    """What a killed job leaves."""
    hydra = folder / ".hydra"
    hydra.mkdir(parents=True)
    (hydra / "overrides.yaml").write_text(json.dumps(list(overrides)))  # JSON is YAML
    (hydra / "config.yaml").write_text(json.dumps({"model": {"width": 8}, "image": {}}))
    (hydra / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"choices": {}}}}))
    return folder


def a_curve(end: float) -> dict[str, Sequence[float | None]]:
    """24 points of two levels, the last without a PSNR."""
    rise = [round(end * (1 - 0.6 * float(np.exp(-i / 6))), 3) for i in range(23)]
    return {
        "level": [1] * 12 + [0] * 12,
        "step": range(0, 240, 10),
        "seconds": [round(0.05 * i, 3) for i in range(24)],
        "parameters": [500] * 12 + [1000] * 12,
        "psnr_db": [*rise, None],
    }


def write_thumbnails(folder: Path, seed: int = 0) -> None:
    (folder / "thumbnails").mkdir()
    for number, name in enumerate(THUMBNAILS):
        checks = np.indices((48, 64)).sum(axis=0) // 8 % 2 * 120 + 20 * (number + seed % 3)
        picture = Image.fromarray(checks.astype(np.uint8))
        picture.save(folder / "thumbnails" / f"{name}.webp", quality=80)


def write_sweep(
    folder: Path,
    images: Sequence[str] = ("camera", "coffee", "moon"),
    seeds: Sequence[int] = (0, 1),
    widths: Sequence[int] = (4, 8, 16),
    thumbnails: bool = False,
) -> None:
    """A full grid in which the Laplacian pyramid is 2.5 dB better."""
    noise = np.random.default_rng(0)
    jobs = product(("gaussian", "laplacian"), widths, enumerate(images), seeds)
    for number, (pyramid, width, (n_image, image), seed) in enumerate(jobs):
        gain = 2.5 if pyramid == "laplacian" else 0.0
        psnr = 28 + 3 * np.log2(width) + 2 * n_image + gain + noise.normal(0, 0.2)
        run = write_run(
            folder / f"{number}-{number:08x}",
            [f"image={image}", f"seed={seed}", f"pyramid={pyramid}", f"model.width={width}"],
            curve=True,
            config={"model": {"width": width}, "pyramid": {"_target_": pyramid}},
            psnr_db=float(psnr),
            ssim=float(1 - 1 / psnr),
            n_parameters=900 * width + (200 if gain else 0),
            bits_per_pixel=0.4 * width,
            fit_time_s=0.2 + 0.05 * width + float(abs(noise.normal(0, 0.02))),
        )
        if thumbnails:
            write_thumbnails(run, seed=number)
