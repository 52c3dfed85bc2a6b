"""Components (frozen dataclasses such as an activation) as plain data, and back.

A manifest names a class; only classes that the running program has already imported are built, so
that reading somebody's file can never import or call anything else.
"""

import json
from dataclasses import fields, is_dataclass
from inspect import isabstract
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from miner.config.schema import RunConfig

T = TypeVar("T")

TARGET = "_target_"


def describe(component: Any) -> dict[str, Any]:
    """Class name and fields, ready for JSON: `{"_target_": "module.Class", ...}`."""
    values = {f.name: getattr(component, f.name) for f in fields(component)}
    return {TARGET: _name(type(component)), **values}


def build(base: type[T], description: Any) -> T:
    """The component that `describe` described.

    Its numbers have the ranges of the settings of the same name.

    Raises:
        ValueError: not a description, a class that is unknown or no `base`, or wrong fields.
    """
    if not isinstance(description, dict) or TARGET not in description:
        raise ValueError(f"{_short(description)}: a {base.__name__} is described by a {TARGET}")
    target = str(description[TARGET])
    known = {_name(cls): cls for cls in _subclasses(base)}
    if target not in known:
        target = _short(target)
        module = target.rpartition(".")[0]
        raise ValueError(
            f"{TARGET}={target}: no {base.__name__} of that name is loaded; "
            f"import {module} first if you trust it (loaded: {', '.join(sorted(known))})"
        )
    _check_ranges(base.__name__.lower(), description)
    values = {name: value for name, value in description.items() if name != TARGET}
    return checked(known[target], values)


def checked(cls: type[T], values: Any) -> T:
    """A dataclass made of plain data, of which every field has the type that it declares.

    Raises:
        ValueError: no mapping, a field that is unknown, missing or wrong, a number that is not
            finite.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{_short(values)}: a {cls.__name__} is described by its fields")
    unknown = sorted(set(values) - {f.name for f in fields(cls)})  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"{_name(cls)}: has no field {_short(unknown[0])}")
    try:
        plain = json.dumps(values, allow_nan=False)
        return TypeAdapter(cls).validate_json(plain, strict=True)
    except ValidationError as error:
        raise ValueError(f"{_name(cls)}: {_mistake(error)}") from error


def _check_ranges(group: str, description: dict[str, Any]) -> None:
    """Refuse numbers that settings of this group may not have; some bases are no group."""
    field = RunConfig.model_fields.get(group)
    settings: Any = field.annotation if field else None
    if settings is None:
        return
    try:
        settings.model_validate(description)
    except ValidationError as error:
        raise ValueError(f"{group}: {_mistake(error)}") from error


def _mistake(error: ValidationError) -> str:
    """The first of the things that are wrong."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"{_short(name)}={_short(first['input'])}: {_short(first['msg'])}"


def _short(value: Any) -> str:
    """A value from a file, which may be of any length, within a line."""
    return " ".join(str(value).split())[:80]


def _subclasses(base: type[T]) -> list[type[T]]:
    found = [cls for child in base.__subclasses__() for cls in _subclasses(child)]
    concrete = is_dataclass(base) and not isabstract(base)
    return [base, *found] if concrete else found


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
