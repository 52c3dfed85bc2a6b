"""A representation as a module of PyTorch, whose parameters train in a loss of one's own."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from torch import Tensor, nn

from miner.models.network import Parameters
from miner.representation.representation import Representation
from miner.representation.shard import Shard
from miner.representation.storage import Float32Storage
from miner.signals.regions import Region, whole
from miner.signals.signal import CPU


class RepresentationModule(nn.Module):
    """The decoded parameters of all levels, `level0_chunk0_width10_hidden_0_weight` and so on.

    Which blocks are active, and their widths, stay as they are. `clip=False` leaves values as the
    networks give them; where clipping changes one, it has no gradient.
    """

    def __init__(self, representation: Representation) -> None:
        super().__init__()
        self._spec, shards = representation.spec, representation.shards
        for shard in chain(*shards.values()):
            for width, stored in shard.stored.items():
                for name, decoded in self._spec.storage.decode(stored).items():
                    self.register_parameter(_key(shard, width, name), nn.Parameter(decoded.clone()))
        self._shards = {j: [replace(s, stored={}) for s in found] for j, found in shards.items()}

    def forward(self, xy: Tensor, *, clip: bool = True) -> Tensor:
        """Values `(..., C)` at points `(..., D)` on the parameters' device, as `rep(xy)`."""
        return self._representation()(xy, clip=clip)

    def render(self, level: int = 0, region: Region | None = None, *, clip: bool = True) -> Tensor:
        """The image `(C, *S)` on the parameters' device; without gradients in `torch.no_grad`."""
        device = next((one.device for one in self.parameters()), CPU)  # a flat image has none
        image = self._representation().image(level, region, device, is_masked=True)
        return self._spec.pixel_format.to_values(image.read(whole(image.sides)), clip)

    def representation(self) -> Representation:
        """What was trained, on the CPU and stored as before, to be saved."""

        def encoded(parameters: Parameters) -> Parameters:
            return self._spec.storage.encode({k: v.detach().cpu() for k, v in parameters.items()})

        return Representation(self._spec, self._filled(encoded))

    def _representation(self) -> Representation:
        """One that refers to the parameters."""
        return Representation(replace(self._spec, storage=Float32Storage()), self._filled(dict))

    def _filled(self, encode: Callable[[Parameters], Parameters]) -> dict[int, list[Shard]]:
        def filled(shard: Shard) -> Shard:
            stored = {}
            for width in shard.widths.unique().tolist():
                names = self._spec.model(shard.level, width).shapes()
                stored[width] = encode({n: getattr(self, _key(shard, width, n)) for n in names})
            return replace(shard, stored=stored, sha256="", tensors_sha256="", parent_digest="")

        return {level: list(map(filled, found)) for level, found in self._shards.items()}


def _key(shard: Shard, width: int, name: str) -> str:
    return f"level{shard.level}_chunk{shard.chunk}_width{width}_{name}".replace(".", "_")
