"""Compare the compiled steps with plain PyTorch, and that with a readout solved in float64.

python scripts/bench_precision.py IMAGES                rows in results/precision.tsv

Fits pluto.jpg at 1024x1024 (IMAGES is its folder) with the default recipe in the three ways and
compares the mean PSNR of the 1024 finest blocks: the design allows a difference of 0.05 dB.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from bench import reduce_pluto
from rows import ROOT, Value, append_row, provenance
from torch import Tensor

from miner.api import compose_settings
from miner.config.build import build_settings
from miner.fitting.backend import EagerBackend
from miner.fitting.pyramid_fit import PyramidFit, fit_pyramid, make_spec
from miner.fitting.readout import ClosedFormReadout
from miner.fitting.settings import FitSettings
from miner.images import SourceImage, open_image
from miner.models.parameters import Parameters
from miner.signals.scratch import Scratch
from miner.signals.signal import ArraySignal
from miner.signals.store import LocalSignalStore


@dataclass(frozen=True)
class Float64Readout(ClosedFormReadout):
    """The definition: Gram matrix and solution in float64."""

    def solve(self, features: Tensor, targets: Tensor, known: Mapping[str, Tensor]) -> Parameters:
        solved = super().solve(features.double(), targets.double(), known)
        return {name: tensor.to(features.dtype) for name, tensor in solved.items()}


def main() -> None:
    """Fit in the three ways with each seed and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder with pluto.jpg")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "precision.tsv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reduce_pluto(arguments.images / "pluto.jpg", Path(folder) / "pluto_1024.png")
        source = open_image(f"{folder}/pluto_1024.png", 2**33)
    for seed in range(arguments.repeats):
        settings = build_settings(compose_settings({"seed": seed}))
        plain = replace(settings, backend=EagerBackend())
        exact = replace(plain, readout=Float64Readout())
        compiled, eager, double = (mean_block_psnr(source, one) for one in (settings, plain, exact))
        row: dict[str, Value] = {
            "image": "pluto_1024.png",
            "n_blocks": 1024,
            "seed": seed,
            "fused_db": compiled,
            "eager_db": eager,
            "eager_float64_db": double,
        }
        append_row(arguments.results, row | provenance("python scripts/bench_precision.py IMAGES"))
        print(row)


def mean_block_psnr(source: SourceImage, settings: FitSettings) -> float:
    """Mean over the finest blocks of each block's PSNR in dB."""
    signal = torch.from_numpy(source.pixels)
    spec = make_spec(tuple(signal.shape[1:]), source.format, settings)
    image_signal = ArraySignal(source.pixels)
    fitter = PyramidFit(
        image_signal, spec, settings, LocalSignalStore(torch.device("cpu"), Scratch(None))
    )
    representation = fit_pyramid(fitter)
    errors = (representation.reconstruct().clamp(0, 1) - signal).square()
    mse = spec.grid(0).block_means(errors)
    return float((-10 * mse.clamp(min=1e-12).log10()).mean())


if __name__ == "__main__":
    main()
