"""A fake device: CPU tensors that refuse to be mixed with those of another device.

To PyTorch they are `meta` tensors, but they have values. Code that runs on this device without an
error has no tensor on the wrong device; transfers are counted whenever the host would wait.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FAKE = torch.device("meta")

_CROSS = ("aten._to_copy.default", "aten.copy_.default")
_SIZED_BY_VALUES = ("nonzero", "_unique", "masked_select", "unique_dim")


class _FakeTensor(Tensor):
    """A tensor of the fake device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "_FakeTensor":
        """Like `held`, except for the device."""
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, dtype=held.dtype, device=FAKE, **layout
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        """The values, copied to the host."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, function: Any, *rest: Any) -> Any:
        """Only called outside of a `FakeDevice`."""
        raise RuntimeError(f"{function}: the fake device is gone")


class FakeDevice(TorchDispatchMode):
    """Computes on `FAKE`, inside a `with` statement.

    `n_waits` counts how often the host needed a value: copies to the host, numbers that Python
    asks for, and tensors whose sides depend on values, masks as an index among them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_waits = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        name, keywords = str(function), dict(kwargs or {})
        tensors: list[Tensor] = []
        _each((*args, *keywords.values()), lambda t: isinstance(t, Tensor) and tensors.append(t))
        there = {id(t.held): t for t in tensors if isinstance(t, _FakeTensor)}
        if name not in _CROSS and there:
            _refuse_mixed(name, tensors)
        device = keywords.get("device")
        if device is not None:
            keywords["device"] = torch.device("cpu")
        held = {key: _each(value, _held) for key, value in keywords.items()}
        result = function(*_each(tuple(args), _held), **held)
        is_there = bool(there) if device is None else torch.device(device) == FAKE
        if name == "aten.copy_.default":
            is_there = isinstance(args[0], _FakeTensor)
        self.n_waits += bool(there) and _waits(name, is_there, tensors)
        if not is_there:
            return result
        return _each(result, lambda t: there.get(id(t), _FakeTensor(t)) if type(t) is Tensor else t)


def values(tensor: Tensor) -> Tensor:
    """What a tensor of the fake device holds."""
    assert isinstance(tensor, _FakeTensor), "the tensor is in the host's memory"
    return tensor.held


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Call a function for a value, or for each of those in tuples and lists: all that aten has."""
    if isinstance(value, tuple | list):
        return type(value)(_each(one, change) for one in value)
    return change(value)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, _FakeTensor) else value


def _refuse_mixed(name: str, tensors: Sequence[Tensor]) -> None:
    """As CUDA does, and an index in the host's memory, too, which would be copied every time."""
    if any(tensor.ndim and not isinstance(tensor, _FakeTensor) for tensor in tensors):
        raise RuntimeError(f"{name}: tensors of two devices")


def _waits(name: str, is_there: bool, tensors: Sequence[Tensor]) -> bool:
    if name in _CROSS or name == "aten._local_scalar_dense.default":
        return not is_there or "scalar" in name
    by_mask = "index" in name and any(tensor.dtype == torch.bool for tensor in tensors[1:])
    return by_mask or any(part in name for part in _SIZED_BY_VALUES)
