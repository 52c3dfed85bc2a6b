"""Multiplicative filter networks: products of filters of the coordinates, no composition."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Gamma

from miner.peers.network import PeerNetwork, Sides


class GaborFilter(nn.Module):
    """sin(W x + b) exp(-gamma |x - mu|^2 / 2), one filter a feature."""

    def __init__(self, n_axes: int, size: int, weight_scale: float, concentration: float) -> None:
        super().__init__()
        self.linear = nn.Linear(n_axes, size)
        self.mu = nn.Parameter(torch.empty(size, n_axes).uniform_(-1, 1))
        self.gamma = nn.Parameter(torch.empty(size))
        gamma = Gamma(torch.tensor(concentration, device="cpu"), torch.tensor(1.0, device="cpu"))
        with torch.no_grad():
            self.gamma.copy_(gamma.sample(torch.Size([size])))  # not drawn on the meta device
            self.linear.weight *= weight_scale * self.gamma.sqrt()[:, None]
            self.linear.bias.uniform_(-math.pi, math.pi)

    def forward(self, xy: Tensor) -> Tensor:
        """Filter `(P, D)` to `(P, H)`; |x - mu|^2 as a product of matrices saves memory."""
        distance = xy.square().sum(-1, keepdim=True) + self.mu.square().sum(-1)
        distance = distance - 2 * xy @ self.mu.T
        wave: Tensor = self.linear(xy).sin()
        return wave * (-0.5 * self.gamma * distance).exp()


class MFN(PeerNetwork):
    """GaborNet, a multiplicative filter network (Fathony et al., ICLR 2021, eq. 3 and sec. 3.2).

    z_1 = g_1(x), z_(i+1) = (W_i z_i + b_i) g_(i+1)(x) with Gabor filters g. As in
    boschresearch/multiplicative-filter-networks, with k = `depth` + 1 filters: gamma from
    Gamma(`concentration` / k, 1), mu uniform in [-1, 1], filter weights as torch draws them times
    `input_scale` sqrt(gamma / k), their biases uniform in +-pi; weights W_i uniform in
    +-1 / sqrt(n).
    """

    value_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __init__(
        self,
        sides: Sides,
        n_outputs: int,
        size: int,
        depth: int = 3,
        input_scale: float = 256.0,
        concentration: float = 6.0,
    ) -> None:
        super().__init__(sides, n_outputs, size)
        self.layers = nn.ModuleList(nn.Linear(size, size) for _ in range(depth))
        self.last = nn.Linear(size, n_outputs)
        k = depth + 1
        scales = input_scale / math.sqrt(k), concentration / k
        self.filters = nn.ModuleList(GaborFilter(len(sides), size, *scales) for _ in range(k))

    def forward(self, xy: Tensor) -> Tensor:
        """Values of the last layer."""
        first, *others = self.filters
        z = first(xy)
        for gabor, layer in zip(others, self.layers, strict=True):
            z = layer(z) * gabor(xy)
        values: Tensor = self.last(z)
        return values
