"""Pictures of a fit as PNG files: the blocks each level needed, the error, the way there."""

from miner.evaluation.blocks_figure import LevelBlocks, draw_blocks
from miner.evaluation.curves_figure import LevelCurve, draw_curves
from miner.evaluation.display import to_display
from miner.evaluation.error_figure import draw_error

__all__ = ["LevelBlocks", "LevelCurve", "draw_blocks", "draw_curves", "draw_error", "to_display"]
