"""MINER: multiscale implicit neural representations (arXiv 2202.03532), a research framework.

In a notebook: `representation = miner.fit(array)`, `miner.load("outputs/...").render(level=1)`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miner.api import fit
    from miner.representation import Representation, load

__all__ = ["Representation", "fit", "load"]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and commands must answer mistakes before that.
    if name == "fit":
        from miner.api import fit

        return fit
    if name in __all__:
        import miner.representation

        return getattr(miner.representation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
