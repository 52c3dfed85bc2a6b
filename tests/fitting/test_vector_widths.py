"""The C source serves vectors of any width: 512, 256 and 128 bits."""

import platform

import pytest
import torch
from fused_problems import KINDS, Kind, problem_of, three_ways

from miner.kernels.cpu import compiler, steps
from miner.kernels.cpu.compiler import build
from miner.kernels.cpu.library import _SOURCE, Library

NARROWER = {"256 bits": "haswell", "128 bits": "nehalem"}

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or "avx2" not in compiler._processor(),
    reason="needs an x86-64 processor with AVX2",
)


@pytest.fixture(params=NARROWER.values(), ids=NARROWER.keys(), scope="module")
def library(request: pytest.FixtureRequest) -> Library:
    """The steps compiled for a processor with narrower vectors."""
    with pytest.MonkeyPatch.context() as patch:
        others = [flag for flag in compiler._FLAGS if not flag.startswith("-march")]
        patch.setattr(compiler, "_FLAGS", (*others, f"-march={request.param}"))
        return Library(build(_SOURCE))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_narrower_vectors_take_the_same_step(
    kind: Kind, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "library", lambda: library)
    truth, single, fused = three_ways(problem_of(kind, n_pixels=150))
    for way in (truth, single, fused):
        way.advance(1)
    usual = float((single.mse - truth.mse).abs().max())
    found = float((fused.mse - truth.mse).abs().max())
    assert found <= 30 * usual + 1e-5 * float(truth.mse.max())
    assert bool(torch.isfinite(fused.best_mse).all())
