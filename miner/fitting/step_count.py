"""Count the block steps of a fit that may begin again."""

from collections.abc import Callable


class StepCount:
    """Tells of block steps as they are done, but never again of those that are repeated."""

    def __init__(self, on_steps: Callable[[int], None]) -> None:
        """Take what is told."""
        self.done = 0
        self._told = 0
        self._on_steps = on_steps

    def add(self, n_block_steps: int) -> None:
        """Count steps that were done or spared."""
        self.done += n_block_steps
        if self.done > self._told:
            self._on_steps(self.done - self._told)
            self._told = self.done

    def back_to(self, done: int) -> None:
        """What was done since `done` steps is to be done again."""
        self.done = done
