"""The C source serves vectors of any width: 512, 256 and 128 bits."""

import platform

import pytest
import torch
from kernel_problems import KINDS, Kind, problem_of, single

from miner.fitting.backend import EagerBackend
from miner.kernels.cpu.compiler import FLAGS, build, describe_processor
from miner.kernels.cpu.trainer import SOURCE, CompiledTrainer, Library

NARROWER = {"256 bits": "haswell", "128 bits": "nehalem"}

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or "avx2" not in describe_processor(),
    reason="needs an x86-64 processor with AVX2",
)


@pytest.fixture(params=NARROWER.values(), ids=NARROWER.keys(), scope="module")
def narrow(request: pytest.FixtureRequest) -> Library:
    """The steps compiled for a processor with narrower vectors."""
    others = [flag for flag in FLAGS if not flag.startswith("-march")]
    return Library(build(SOURCE, flags=[*others, f"-march={request.param}"]))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_narrower_vectors_take_the_same_step(kind: Kind, narrow: Library) -> None:
    problem = problem_of(kind, n_pixels=150)
    truth, plain = (EagerBackend().trainer(p) for p in (problem, single(problem)))
    compiled = CompiledTrainer(single(problem), narrow)
    for trainer in (truth, plain, compiled):
        trainer.advance(1)
    usual = float((plain.mse - truth.mse).abs().max())
    found = float((compiled.mse - truth.mse).abs().max())
    assert found <= 30 * usual + 1e-5 * float(truth.mse.max())
    assert bool(torch.isfinite(compiled.best_mse).all())
