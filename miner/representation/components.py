"""Components (frozen dataclasses such as an activation) as plain data, and back.

A manifest names a class; only classes that the running program has already imported are built, so
that reading somebody's file can never import or call anything else.
"""

import json
from dataclasses import fields, is_dataclass
from inspect import isabstract
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")

TARGET = "_target_"


def describe(component: Any) -> dict[str, Any]:
    """Class name and fields, ready for JSON: `{"_target_": "module.Class", ...}`."""
    values = {f.name: getattr(component, f.name) for f in fields(component)}
    return {TARGET: _name(type(component)), **values}


def build(base: type[T], description: Any) -> T:
    """The component that `describe` described.

    Raises:
        ValueError: not a description, a class that is unknown or no `base`, or wrong fields.
    """
    if not isinstance(description, dict) or TARGET not in description:
        raise ValueError(f"{description!r:.80}: a {base.__name__} is described by a {TARGET}")
    target = description[TARGET]
    known = {_name(cls): cls for cls in _subclasses(base)}
    if target not in known:
        module = str(target).rpartition(".")[0]
        raise ValueError(
            f"{TARGET}={target}: no {base.__name__} of that name is loaded; "
            f"import {module} first if you trust it (loaded: {', '.join(sorted(known))})"
        )
    values = {name: value for name, value in description.items() if name != TARGET}
    cls = known[target]
    unknown = sorted(set(values) - {f.name for f in fields(cls)})  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"{TARGET}={target}: has no field {unknown[0]}")
    return TypeAdapter(cls).validate_json(json.dumps(values), strict=True)


def _subclasses(base: type[T]) -> list[type[T]]:
    found = [cls for child in base.__subclasses__() for cls in _subclasses(child)]
    concrete = is_dataclass(base) and not isabstract(base)
    return [base, *found] if concrete else found


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
