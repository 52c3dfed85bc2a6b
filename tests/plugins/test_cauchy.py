"""An activation joins the compiled steps by a class, a row and a branch; else it is refused."""

import importlib.util
import sys
from pathlib import Path

import pytest
from block_problems import Kind, Problem, problem_of

sys.path.append(str(Path(__file__).parents[1] / "kernels"))

from cauchy import ROW, Cauchy
from kernel_problems import DEVICE, KINDS, check_a_few_steps, check_gradients, small

from miner.fitting.backend import EagerBackend
from miner.kernels import ops
from miner.kernels.activations import ACTIVATIONS
from miner.kernels.backend import CompiledBackend
from miner.kernels.cpu.trainer import FLAGS, SOURCE, CompiledTrainer, build, definitions, load
from miner.kernels.ops import RowTrainer, UnsupportedError
from miner.models.activations import Sine

TABLE = (*ACTIVATIONS, ROW)
CAUCHY = [k._replace(activation=Cauchy()) for k in KINDS if type(k.activation) is Sine]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="there is no Triton for this system"
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table with one more row, for Python."""
    monkeypatch.setattr(ops, "ACTIVATIONS", TABLE)


@pytest.mark.parametrize("kind", CAUCHY, ids=str)
def test_c_takes_the_steps_of_an_added_row(table: None, kind: Kind) -> None:
    plain = [flag for flag in FLAGS if flag not in definitions()]
    functions = load(build(SOURCE, flags=[*plain, *definitions(TABLE)]))

    def begin(problem: Problem) -> CompiledTrainer:
        return CompiledTrainer(problem.single(), functions)

    problem = problem_of(kind, 150)
    check_gradients(problem, begin, floor=2e-5)
    check_a_few_steps(problem, begin(problem))


def test_c_computes_no_activation_that_it_was_not_compiled_with(
    table: None, caplog: pytest.LogCaptureFixture
) -> None:
    problem = problem_of(CAUCHY[0], 150).compiled()
    with pytest.raises(UnsupportedError, match=f"activation {len(ACTIVATIONS)} is not in the lib"):
        CompiledTrainer(problem).advance(1)
    assert CompiledBackend().prepare(problem) == EagerBackend()
    assert "backend=compiled: activation" in caplog.text


@needs_triton
@pytest.mark.parametrize("kind", CAUCHY, ids=str)
def test_triton_takes_the_steps_of_an_added_row(
    table: None, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    from cauchy_triton import activate

    from miner.kernels.triton import math, trainer

    monkeypatch.setattr(trainer, "ACTIVATIONS", TABLE)
    monkeypatch.setattr(math, "activate", activate)

    def begin(problem: Problem) -> RowTrainer:
        return trainer.TritonTrainer(problem.single(DEVICE))

    problem = small(kind, n_steps=5)
    check_gradients(problem, begin, floor=1e-5)
    check_a_few_steps(problem, begin(problem))
