"""Optimisers over stacked parameters: the probe that admits one, and compaction of its state."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def probe(factory: OptimizerFactory) -> None:
    """Raise `ValueError` unless two blocks in one tensor move as each of them moves alone."""
    target = getattr(factory, "func", factory)
    name = f"optimizer={getattr(target, '__name__', target)}"
    try:
        factory([nn.Parameter(torch.zeros(2, 4, 3))])
    except Exception as error:
        raise ValueError(
            f"{name}: cannot be built ({error}); change that setting, leave it "
            "out with ~optimizer.NAME, or use an element-wise torch.optim class such as adam"
        ) from error
    remedy = (
        f"{name}: blocks are independent, so every number must move by its own gradient alone; "
        "use an element-wise torch.optim class such as adam, adamw, radam or nadam"
    )
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64)
    gradients = torch.randn(3, *start.shape, generator=generator, dtype=torch.float64)
    gradients[:, 1] *= 10  # a norm over both blocks would show
    try:
        both = _walk(factory, start, gradients)
        alone = [_walk(factory, start[b : b + 1], gradients[:, b : b + 1]) for b in range(2)]
    except Exception as error:  # whatever a foreign optimiser raises is the reason it is refused
        raise ValueError(f"{remedy} ({type(error).__name__}: {error})") from error
    moved = torch.cat(alone) - start
    if not torch.allclose(both - start, moved, rtol=1e-6, atol=1e-6 * float(moved.abs().max())):
        raise ValueError(remedy)


def _walk(factory: OptimizerFactory, start: Tensor, gradients: Tensor) -> Tensor:
    parameter = nn.Parameter(start.clone())
    optimizer = factory([parameter])
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


def keep_blocks(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], index: Tensor
) -> dict[str, nn.Parameter]:
    """Drop all blocks but `index` from parameters and from the optimiser's state of their shape.

    Returns the new parameters, which the optimiser trains from then on.
    """
    kept = {name: nn.Parameter(old.detach()[index]) for name, old in parameters.items()}
    for name, old in parameters.items():
        optimizer.state[kept[name]] = {
            key: value[index] if getattr(value, "shape", None) == old.shape else value
            for key, value in optimizer.state.pop(old, {}).items()
        }
    optimizer.param_groups[0]["params"] = list(kept.values())
    return kept
