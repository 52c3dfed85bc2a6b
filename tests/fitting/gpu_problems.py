"""The problems of the compiled steps for Triton: on a GPU, or interpreted where there is none."""

from dataclasses import replace
from typing import Any

import torch
from fused_problems import Kind, begin, in_single_precision, problem_of
from problems import Problem

from miner.fitting.steps import EagerTrainer
from miner.kernels.backend import TritonBackend
from miner.kernels.triton.steps import TritonTrainer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def in_triton(given: Problem) -> Problem:
    """The same problem in float32 on the device, for the Triton steps."""
    single = given.compiled()
    return replace(
        single,
        backend=TritonBackend(),
        encoded=single.encoded.to(DEVICE),
        targets=single.targets.to(DEVICE),
        start={name: tensor.to(DEVICE) for name, tensor in single.start.items()},
    )


def begin_in_triton(given: Problem) -> TritonTrainer:
    """Blocks ready to be trained by Triton's programs."""
    there = in_triton(given)
    steps = there.backend.steps(
        there.model, there.readout, there.steps, there.encoded, there.targets, there.start
    )
    assert isinstance(steps, TritonTrainer)
    return steps


def three_ways(given: Problem) -> tuple[EagerTrainer, EagerTrainer, TritonTrainer]:
    """Plain steps in float64 (the truth) and in float32 (what rounding costs), Triton's."""
    truth, single = begin(given), begin(in_single_precision(given))
    assert isinstance(truth, EagerTrainer) and isinstance(single, EagerTrainer)
    return truth, single, begin_in_triton(given)


def small(kind: Kind, n_pixels: int = 70, n_blocks: int = 1, **settings: Any) -> Problem:
    """A problem that the interpreter solves in a moment: two tiles, the last not full."""
    return problem_of(kind._replace(width=min(kind.width, 6)), n_pixels, n_blocks, **settings)
