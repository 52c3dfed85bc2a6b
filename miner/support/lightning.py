"""Lightning without modules that it imports, seldom uses, and spends most of its time on."""

import sys
from pkgutil import resolve_name
from typing import Any

_SELDOM_USED = (
    *("torch._dynamo", "torch.utils.flop_counter", "scipy.signal"),
    *("matplotlib", "matplotlib.axes", "matplotlib.pyplot"),
)
_LIGHTNINGS = ("pytorch_lightning", "lightning_fabric", "lightning_utilities", "torchmetrics")


class _StandIn(type):
    """A module or a name in it while Lightning is imported; the real one for later uses."""

    is_importing = True

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        path = f"{cls.__name__}.{name}"
        return _StandIn(path, (), {}) if _StandIn.is_importing else resolve_name(path)

    def __call__(cls, *arguments: Any, **settings: Any) -> Any:
        if not _StandIn.is_importing:
            return resolve_name(cls.__name__)(*arguments, **settings)
        return arguments[0] if callable(arguments[0]) else lambda decorated: decorated

    def __instancecheck__(cls, value: object) -> bool:
        is_imported = cls.__name__.rpartition(".")[0] in sys.modules
        return is_imported and isinstance(value, resolve_name(cls.__name__))


def import_lightning() -> None:
    """Import Lightning, once, with stand-ins for those modules; if that fails, as it is."""
    if "pytorch_lightning" in sys.modules:
        return
    absent: dict[str, Any] = {n: _StandIn(n, (), {}) for n in _SELDOM_USED if n not in sys.modules}
    sys.modules.update(absent)
    try:
        import pytorch_lightning
    except Exception:  # whatever another version of it does with them
        for name in [name for name in sys.modules if name.startswith(_LIGHTNINGS)]:
            del sys.modules[name]
    finally:
        _StandIn.is_importing = False
        for name in absent:
            del sys.modules[name]
    import pytorch_lightning  # noqa: F401
