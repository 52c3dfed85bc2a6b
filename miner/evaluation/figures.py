"""The figures of a run."""

from miner.evaluation.blocks_figure import LevelBlocks, blocks_picture, draw_blocks
from miner.evaluation.curves_figure import LevelCurve, draw_curves
from miner.evaluation.display import reduce_to_side, to_display
from miner.evaluation.error_figure import draw_error, error_picture, square_error

__all__ = [
    "LevelBlocks",
    "LevelCurve",
    "blocks_picture",
    "draw_blocks",
    "draw_curves",
    "draw_error",
    "error_picture",
    "reduce_to_side",
    "square_error",
    "to_display",
]
