"""Which optimisers are admitted, and that leaving blocks out changes nothing for the rest."""

from functools import partial

import pytest
import torch
from block_problems import noise
from torch import Tensor, nn

from miner.fitting.steps import OptimizerFactory, keep_blocks, probe

OPTIMIZERS = {
    "Adam": partial(torch.optim.Adam, lr=2e-2),
    "amsgrad": partial(torch.optim.Adam, lr=2e-2, amsgrad=True),
    "fused": partial(torch.optim.Adam, lr=2e-2, fused=True),
    "RAdam": partial(torch.optim.RAdam, lr=2e-2),
    "NAdam": partial(torch.optim.NAdam, lr=2e-2),
    "AdamW": partial(torch.optim.AdamW, lr=2e-2),
    "Adagrad": partial(torch.optim.Adagrad, lr=2e-2),
    "RMSprop": partial(torch.optim.RMSprop, lr=2e-2, momentum=0.5),
    "SGD": partial(torch.optim.SGD, lr=2e-2),
    "momentum": partial(torch.optim.SGD, lr=2e-2, momentum=0.9, nesterov=True),
}
MIXERS = [
    name for name in ("LBFGS", "Muon", "Adafactor", "SparseAdam") if hasattr(torch.optim, name)
]


class NormalisedSGD(torch.optim.SGD):
    """Divides by the norm over all blocks, as gradient clipping does."""

    def step(self) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            parameter.grad /= parameter.grad.norm()
        super().step()


@pytest.mark.parametrize("factory", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_element_wise_optimisers_are_admitted(factory: OptimizerFactory) -> None:
    probe(factory)


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (partial(NormalisedSGD, lr=1e-2), "optimizer=NormalisedSGD"),
        (partial(torch.optim.Adam, surprise=1), r"optimizer=Adam: .*surprise.*~optimizer"),
    ],
)
def test_refusals_name_the_optimiser_and_the_reason(factory: OptimizerFactory, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        probe(factory)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("lr", [1.0, 1e-2, 1e-6])
def test_optimisers_that_mix_blocks_are_refused_by_name(name: str, lr: float) -> None:
    with pytest.raises(ValueError, match=rf"^optimizer={name}: .*use an element-wise"):
        probe(partial(getattr(torch.optim, name), lr=lr))


def walk(factory: OptimizerFactory, keep_after: int | None, blocks: Tensor) -> dict[str, Tensor]:
    """Six steps of five blocks, of which `blocks` are kept from the start or after some steps."""
    start = {"weight": noise(5, 3, 2).double(), "a": noise(5).double()}
    gradients = {"weight": noise(6, 5, 3, 2, seed=1).double(), "a": noise(6, 5, seed=2).double()}
    present = torch.arange(5) if keep_after is not None else blocks
    parameters = {name: nn.Parameter(tensor[present]) for name, tensor in start.items()}
    optimizer = factory(parameters.values())
    for step in range(6):
        if step == keep_after:
            parameters, present = keep_blocks(optimizer, parameters, blocks), blocks
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][step, present]
        optimizer.step()
    return {name: parameter.detach() for name, parameter in parameters.items()}


@pytest.mark.parametrize("keep_after", [0, 3])
@pytest.mark.parametrize("blocks", [[0, 2, 3], [4], []], ids=str)
@pytest.mark.parametrize("factory", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_kept_blocks_move_as_if_alone_from_the_start(
    factory: OptimizerFactory, blocks: list[int], keep_after: int
) -> None:
    index = torch.tensor(blocks, dtype=torch.long)
    kept, alone = walk(factory, keep_after, index), walk(factory, None, index)
    torch.testing.assert_close(kept, alone, rtol=0, atol=1e-14)


def test_states_of_another_shape_stay_whole() -> None:
    parameter = nn.Parameter(noise(5, 3))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    optimizer.state[parameter] = {"step": torch.tensor(7.0), "history": noise(5, 2), "none": None}
    (kept,) = keep_blocks(optimizer, {"weight": parameter}, torch.tensor([1])).values()
    assert optimizer.state[kept]["step"] == 7
    assert optimizer.state[kept]["history"].shape == (5, 2)
    assert parameter not in optimizer.state
