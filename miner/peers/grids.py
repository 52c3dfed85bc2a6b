"""Values that are interpolated between the points of grids: trained ones, or hashed features."""

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from miner.peers.network import PeerNetwork, Sides

PRIMES = (1, 2_654_435_761, 805_459_861)  # of the paper: an axis each


class Grid(PeerNetwork):
    """Nothing but values, interpolated linearly along each axis; `size` cells on the longest side.

    The outermost points of the grid are the coordinates -1 and 1. All values start as `initial`.
    """

    def __init__(self, sides: Sides, n_outputs: int, size: int, initial: float = 0.5) -> None:
        super().__init__(sides, n_outputs, size)
        self.cells = [max(1, round(size * side / max(sides))) for side in sides]
        n_points = math.prod(n + 1 for n in self.cells)
        self.values = nn.Parameter(torch.full((n_points, n_outputs), initial))

    def forward(self, xy: Tensor) -> Tensor:
        """Interpolated values."""
        points, weights = _surrounding((xy + 1) / 2, self.cells)
        index = _dense_index(points, self.cells)
        return _weighted(self.values, index, weights)


class HashGrid(PeerNetwork):
    """A multiresolution hash grid and a small network (Müller et al. 2022, arXiv 2201.05989).

    Level l of L is a grid of N_l = floor(N_min b^l) cells a side over the unit cube, where b takes
    it from `coarsest` to `finest` cells per pixel of the longest side (eq. 2 and 3). A level has a
    row of features for each of its points where they fit in `size` rows, which then stop growing;
    else `size` rows, and the row of a point is the exclusive or of its indices times `PRIMES`
    modulo `size` (eq. 4). Interpolated features of all levels enter a ReLU network without biases.
    As in instant-ngp's configs/image: features uniform in +-1e-4, weights after Glorot; a cell of
    the finest level for two pixels. Its code, but no equation, shifts grids by half a cell.
    """

    def __init__(
        self,
        sides: Sides,
        n_outputs: int,
        size: int,
        n_levels: int = 16,
        n_features: int = 2,
        coarsest: int = 16,
        finest: float = 0.5,
        width: int = 64,
        depth: int = 2,
    ) -> None:
        super().__init__(sides, n_outputs, size)
        growth = max(1.0, finest * max(sides) / coarsest) ** (1 / max(1, n_levels - 1))
        self.resolutions = [math.floor(coarsest * growth**i + 1e-6) for i in range(n_levels)]
        n_rows = [min((n + 1) ** len(sides), size) for n in self.resolutions]
        self.starts = [0, *accumulate(n_rows)]  # of the levels, in the table
        self.table = nn.Parameter(torch.empty(self.starts[-1], n_features).uniform_(-1e-4, 1e-4))
        widths = (n_levels * n_features, *[width] * depth, n_outputs)
        self.layers = nn.ModuleList(nn.Linear(n, m, bias=False) for n, m in pairwise(widths))
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.get_parameter("weight"))

    def encode(self, xy: Tensor) -> Tensor:
        """Features `(P, L F)`, level by level."""
        levels = [self._rows((xy + 1) / 2, level) for level in range(len(self.resolutions))]
        rows, weights = (
            torch.stack(tensors, dim=1).flatten(0, 1) for tensors in zip(*levels, strict=True)
        )
        return _weighted(self.table, rows, weights).reshape(len(xy), -1)

    def _rows(self, position: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Rows of the table around positions in [0, 1], and their weights: both `(P, 2^D)`."""
        cells = [self.resolutions[level]] * len(self.sides)
        points, weights = _surrounding(position, cells)
        start, end = self.starts[level : level + 2]
        is_dense = end - start == math.prod(n + 1 for n in cells)
        index = _dense_index(points, cells) if is_dense else _hash(points) % (end - start)
        return index + start, weights

    def forward(self, xy: Tensor) -> Tensor:
        """Values of the last layer."""
        x = self.encode(xy)
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        values: Tensor = self.layers[-1](x)
        return values


def _surrounding(position: Tensor, cells: Sequence[int]) -> tuple[list[Tensor], Tensor]:
    """Points of a grid around positions `(P, D)` in [0, 1].

    Gives the indices below and above along each axis, `(P, 2)` each, and the weights `(P, 2^D)` of
    all their combinations, the last axis fastest.
    """
    n_cells = torch.tensor(cells).to(position)
    scaled = position * n_cells
    below = scaled.floor().clamp(torch.zeros_like(n_cells), n_cells - 1)  # 1 is in the last cell
    above = scaled - below
    shares = torch.stack([1 - above, above], dim=-1)  # (P, D, 2)
    points = torch.stack([below, below + 1], dim=-1).long()
    return list(points.unbind(1)), _combined(list(shares.unbind(1)), operator.mul)


def _dense_index(points: Sequence[Tensor], cells: Sequence[int]) -> Tensor:
    """Indices `(P, 2^D)` into all points of a grid, the last axis fastest."""
    strides = [math.prod(n + 1 for n in cells[axis + 1 :]) for axis in range(len(cells))]
    return _combined([p * s for p, s in zip(points, strides, strict=True)], operator.add)


def _hash(points: Sequence[Tensor]) -> Tensor:
    """Hashes `(P, 2^D)` in 32 bits."""
    products = [p * prime for p, prime in zip(points, PRIMES[: len(points)], strict=True)]
    return _combined(products, operator.xor) & 0xFFFFFFFF


def _weighted(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Sums `(P, F)` of the rows `(P, K)` of a table, 6 times faster than by embedding_bag."""
    chosen = table.index_select(0, rows.flatten()).reshape(*rows.shape, -1)
    return torch.einsum("pkf,pk->pf", chosen, weights)


def _combined(ends: Sequence[Tensor], operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What an operation makes of one end of each axis: D times `(P, 2)` to `(P, 2^D)`."""

    def pair(a: Tensor, b: Tensor) -> Tensor:
        return operation(a[:, :, None], b[:, None, :]).flatten(1)

    return reduce(pair, ends)
