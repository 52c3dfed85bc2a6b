"""The least that a training step of one block has to compute and to move.

Only the definition's products count, at the network's own widths: sines, the optimiser's update and
the solution of the readout's system come on top. A Gram matrix is symmetric and counts once.
"""

from gpu_blocks import Blocks, Case

_FLOAT = 4
_MOMENTS = 2


def operations(case: Case, n_inputs: int) -> int:
    """Of one step of one block, a multiply-add counting as two."""
    H, C = case.width, case.channels
    inner = (case.depth - 1) * H * H
    layers = n_inputs * H + inner
    backward = layers + inner + H * C  # weights, features between layers, last features
    outputs = H * C
    # Solved for: Gram matrix, products with the targets. Trained: its gradient.
    readout = H * (H + 1) // 2 + H * C if case.readout == "closed_form" else H * C
    return 2 * case.patch_size**2 * (layers + outputs + readout + backward)


def bytes_per_launch(blocks: Blocks) -> int:
    """Of one launch, whatever the number of its steps, for all blocks.

    Targets and coordinates are read; parameters and the optimiser's moments are read and written.
    """
    n_trained = sum(tensor.numel() for tensor in blocks.start.values())
    numbers = blocks.targets.numel() + blocks.encoded.numel()
    return _FLOAT * (numbers + 2 * (1 + _MOMENTS) * n_trained)
