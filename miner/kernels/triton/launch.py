"""How the Triton programs run on a device; nothing of it changes what they compute but rounding."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Launch:
    """Pixels at once, groups of 32 threads, and registers of a thread (None: as many as it takes).

    Sixty-four pixels are the least that tensor cores of Hopper take from shared memory; the widest
    networks leave no registers for so many.
    """

    tile: int
    warps: int
    max_registers: int | None = None

    @staticmethod
    def of_width(width: int) -> "Launch":
        """What suits a padded width; scripts/compile_gpu.py says what that takes."""
        return Launch(tile=64, warps=4) if width < 64 else Launch(tile=32, warps=8)

    @property
    def options(self) -> dict[str, int]:
        """As Triton takes them."""
        limit = {} if self.max_registers is None else {"maxnreg": self.max_registers}
        return {"num_warps": self.warps, "num_stages": 1} | limit
