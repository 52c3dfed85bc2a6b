"""MINER: multiscale implicit neural representations (arXiv 2202.03532), a research framework.

In a notebook: `representation = miner.fit(array)`, `miner.load("outputs/...").render(level=1)`.
"""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miner.api import fit
    from miner.representation import Representation, load

__all__ = ["Representation", "fit", "load"]

if "torch" not in sys.modules:  # which reads it once; see `miner.support.process.prepare`
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and commands must refuse wrong arguments before that
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module("miner.api" if name == "fit" else "miner.representation")
    return getattr(module, name)


def __dir__() -> list[str]:
    found = {name for name in globals() if name[:2] == "__" or f"miner.{name}" in sys.modules}
    return sorted({*found, *__all__})
