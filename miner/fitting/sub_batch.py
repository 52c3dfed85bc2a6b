"""How many blocks are in computation at once. It bounds memory and fits the cache, nothing else."""

import torch

from miner.models.block_model import BlockModel

_BYTES = 4
_CPU_LAYER_BYTES = 4 * 2**20
_LAYER_COPIES = 6  # pre-activation, activation, their gradients, two temporaries


def blocks_at_once(
    model: BlockModel, n_pixels: int, max_memory_gib: float, device: torch.device
) -> int:
    """Blocks whose training step stays within `max_memory_gib` and, on a CPU, near the cache."""
    layer = _BYTES * model.mlp.width * n_pixels
    within_memory = int(max_memory_gib * 2**30 / (layer * _LAYER_COPIES * model.mlp.depth))
    within_cache = _CPU_LAYER_BYTES // layer if device.type == "cpu" else within_memory
    return max(1, min(within_memory, within_cache))
