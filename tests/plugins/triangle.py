"""A network to compare with: a class here and conf/method/triangle.yaml."""

from torch import Tensor, nn

from miner.peers.network import PeerNetwork, Sides


class Triangle(PeerNetwork):
    """Two linear layers around a triangle wave of `frequency` periods between -1 and 1."""

    def __init__(self, sides: Sides, n_outputs: int, size: int, frequency: float = 10.0) -> None:
        super().__init__(sides, n_outputs, size)
        self.frequency = frequency
        self.first, self.last = nn.Linear(len(sides), size), nn.Linear(size, n_outputs)

    def forward(self, xy: Tensor) -> Tensor:
        z = self.frequency / 2 * self.first(xy)
        wave = 4 * (z - z.round()).abs() - 1
        values: Tensor = self.last(wave)
        return values
