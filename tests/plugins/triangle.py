"""A network to compare with: a class here and conf/method/triangle.yaml."""

import math

import torch
from torch import Tensor, nn

from miner.peers.network import PeerNetwork, Sides


class Triangle(PeerNetwork):
    """Two linear layers around a triangle wave of `frequency` periods between -1 and 1."""

    def __init__(self, sides: Sides, n_outputs: int, size: int, frequency: float = 10.0) -> None:
        super().__init__(sides, n_outputs, size)
        self.frequency = frequency
        self.first, self.last = nn.Linear(len(sides), size), nn.Linear(size, n_outputs)

    def forward(self, xy: Tensor) -> Tensor:
        wave = torch.asin((math.pi * self.frequency * self.first(xy)).sin())
        values: Tensor = self.last(wave * 2 / math.pi)
        return values
