"""SOAP for blocks: Adam in the eigenvectors of Shampoo's preconditioner, a basis for each block."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_SIDES = "left", "right"
_FIRST_ITERATIONS = 10  # towards the eigenvectors of the first gradient's products
_LEAST_TRACE = 1e-30  # products of smaller gradients have no digits
_SHIFT = 1e-6  # of the mean diagonal: keeps products of the iteration of full rank


class SOAP(torch.optim.Optimizer):
    """Vyas et al. (arXiv 2409.11321), for parameters whose first axis is that of blocks.

    A matrix `(B, E, H)` and the vector `(B, H)` after it, a layer's weights and biases, are one
    matrix of `E + 1` rows. Its gradients turn into a basis in which Adam moves it, and the moves
    turn back. Every `precondition_frequency` steps an orthogonal iteration brings the basis nearer
    to the eigenvectors of decayed sums of G G^T and G^T G. Other parameters move by plain Adam.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 0.012,
        betas: tuple[float, float] = (0.98, 0.98),
        shampoo_beta: float = 0.97,
        eps: float = 1e-8,
        precondition_frequency: int = 20,
    ) -> None:
        """Take Adam's numbers; `shampoo_beta` is the decay of the sums of products."""
        frequency = precondition_frequency
        if not (lr >= 0 and eps >= 0 and frequency >= 1):
            given = f"lr={lr}, eps={eps}, precondition_frequency={frequency}"
            raise ValueError(f"{given}: must be at least 0, 0 and 1")
        if not all(0 <= beta < 1 for beta in (*betas, shampoo_beta)):
            given = f"betas={betas}, shampoo_beta={shampoo_beta}"
            raise ValueError(f"{given}: must be at least 0 and below 1")
        numbers = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0}
        shampoo = {"shampoo_beta": shampoo_beta, "precondition_frequency": frequency}
        super().__init__(params, numbers | shampoo)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move all parameters that have gradients."""
        for group in self.param_groups:
            for layer in _layers([part for part in group["params"] if part.grad is not None]):
                grads = [_matrix(part.grad) for part in layer if part.grad is not None]
                gradient = torch.cat(grads, 1)
                moves = _moves(self.state[layer[0]], gradient, layer[0].ndim == 3, group)
                rows = [_matrix(part).shape[1] for part in layer]
                for part, move in zip(layer, moves.split(rows, 1), strict=True):
                    part.sub_(move.reshape(part.shape))


def _layers(parameters: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Matrices with the vectors of as many columns that follow them; the others one by one."""
    left = list(parameters)
    while left:
        first, *left = left
        is_layer = first.ndim == 3 and left and left[0].shape == (len(first), first.shape[2])
        yield [first, left.pop(0)] if is_layer else [first]


def _matrix(values: Tensor) -> Tensor:
    """Values of blocks as matrices `(B, R, H)`."""
    n_blocks, *rows, columns = (*values.shape, 1) if values.ndim == 1 else values.shape
    return values.reshape(n_blocks, math.prod(rows), columns)


def _moves(
    state: dict[str, Any], gradient: Tensor, has_basis: bool, group: dict[str, Any]
) -> Tensor:
    if not state:
        state |= {"step": 0, "first": torch.zeros_like(gradient)}
        state["second"] = torch.zeros_like(gradient)
        if has_basis:
            for side, n in zip(_SIDES, gradient.shape[1:], strict=True):
                basis = torch.eye(n).to(gradient).repeat(len(gradient), 1, 1)
                state |= {side: torch.zeros_like(basis), f"{side}_basis": basis}
    state["step"] += 1
    step, (beta1, beta2) = state["step"], group["betas"]
    if has_basis:
        _update_bases(state, gradient, n_iterations(step, group), 1 - group["shampoo_beta"])
        gradient = _turned(state, gradient)
    if step == 1:  # most of its bases are arbitrary: a matrix has the rank of its shorter side
        return torch.zeros_like(gradient)
    first = state["first"].lerp_(gradient, 1 - beta1)
    second = state["second"].lerp_(gradient.square(), 1 - beta2)
    root = (second / (1 - beta2 ** (step - 1))).sqrt() + group["eps"]
    moves = group["lr"] / (1 - beta1 ** (step - 1)) * first / root
    return _turned_back(state, moves) if has_basis else moves


def n_iterations(step: int, group: Mapping[str, Any]) -> int:
    """Orthogonal iterations of a step, counted from 1."""
    if step == 1:
        return _FIRST_ITERATIONS
    return int(step % group["precondition_frequency"] == 0)


def _update_bases(state: dict[str, Any], gradient: Tensor, n: int, rest: float) -> None:
    products = gradient @ gradient.mT, gradient.mT @ gradient
    for side, product in zip(_SIDES, products, strict=True):
        state[side].lerp_(product, rest)
    if not n:
        return
    first = _turned_back(state, state["first"])
    for side in _SIDES:
        sums, basis = state[side], state[f"{side}_basis"]
        trace = sums.diagonal(dim1=1, dim2=2).sum(-1).view(-1, 1, 1)
        eye = _SHIFT * torch.eye(sums.shape[-1]).to(sums)
        for _ in range(n):
            basis = torch.linalg.qr((sums.shape[-1] / trace * sums + eye) @ basis.mT)[0].mT
        state[f"{side}_basis"] = basis.where(trace > _LEAST_TRACE, state[f"{side}_basis"])
    state["first"] = _turned(state, first)


def _turned(state: Mapping[str, Tensor], values: Tensor) -> Tensor:
    return state["left_basis"] @ values @ state["right_basis"].mT


def _turned_back(state: Mapping[str, Tensor], values: Tensor) -> Tensor:
    return state["left_basis"].mT @ values @ state["right_basis"]
