"""Components (frozen dataclasses such as an activation) as plain data, and back.

Of the classes that a file names, only those are built that the program has already imported.
"""

import json
from argparse import ArgumentTypeError
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from importlib import import_module
from inspect import isabstract
from pkgutil import resolve_name
from typing import Annotated, Any, TypeVar, cast

import pydantic
from pydantic import Field, GetPydanticSchema, PlainSerializer, PlainValidator

T = TypeVar("T")
TARGET = "_target_"
_adapter: Any = lru_cache(pydantic.TypeAdapter)  # takes a millisecond to build
COMPONENT = GetPydanticSchema(  # beside the type of a field that holds a component
    lambda base, handler: handler.generate_schema(
        Annotated[Any, PlainValidator(partial(build, base)), PlainSerializer(describe)]
    )
)
_ONLY_NULL = GetPydanticSchema(lambda _, handler: handler.generate_schema(None))
Apart = Annotated[T | None, _ONLY_NULL, Field(exclude=True)]  # stored elsewhere, None when parsed


def imported(name: str) -> Any:
    """A module that a command's option names; its classes are loaded from then on."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ArgumentTypeError(f"{error}; is its folder in PYTHONPATH?") from error


def find_class(settings: Any) -> Any:
    """What the `_target_` of settings names; None if it cannot be imported."""
    try:
        return resolve_name(settings._target_) if settings else None
    except Exception:  # whatever a module raises: who instantiates the class says what is wrong
        return None


def describe(component: Any) -> dict[str, Any]:
    """Class name and fields, ready for JSON: `{"_target_": "module.Class", ...}`."""
    return {TARGET: _name(type(component)), **plain(component)}


def build(base: Any, description: Any) -> Any:
    """What `describe` described; `ValueError` for an unknown class, no `base`, or wrong fields."""
    if not isinstance(description, dict) or TARGET not in description:
        raise ValueError(f"{shorten(description)}: a {base.__name__} is described by a {TARGET}")
    target = str(description[TARGET])
    known = {_name(cls): cls for cls in _subclasses(base)}
    if target not in known:
        target = shorten(target)
        module = target.rpartition(".")[0]
        remedy = f"import {module} first if you trust it, a command by --import {module}"
        reason = f"no {base.__name__} of that name is loaded; {remedy}"
        raise ValueError(f"{TARGET}={target}: {reason} (loaded: {', '.join(sorted(known))})")
    values = {name: value for name, value in description.items() if name != TARGET}
    if unknown := sorted(values.keys() - {f.name for f in fields(known[target])}):
        raise ValueError(f"{target}: has no field {shorten(unknown[0])}")
    return parse(known[target], json.dumps(values), target)


def parse(cls: type[T], text: str, name: str) -> T:
    """A dataclass of JSON, which may have unknown fields; raises `ValueError` about `name`."""
    try:
        return cast(T, _adapter(cls).validate_json(text, strict=True))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        if own := first.get("ctx", {}).get("error"):  # of `build`
            raise own from error
        field = ".".join(str(part) for part in first["loc"])
        values = f"{shorten(field)}={shorten(first['input'])}"
        raise ValueError(f"{name}: {values}: {shorten(first['msg'])}") from error


def plain(content: Any) -> dict[str, Any]:
    """What `parse` makes a dataclass of, ready for JSON."""
    return cast(dict[str, Any], _adapter(type(content)).dump_python(content, mode="json"))


def shorten(value: Any) -> str:
    """A value from a file, which may be of any length, within a line."""
    return " ".join(str(value).split())[:80]


def _subclasses(base: type[T]) -> list[type[T]]:
    found = [cls for child in base.__subclasses__() for cls in _subclasses(child)]
    concrete = is_dataclass(base) and not isabstract(base)
    return [base, *found] if concrete else found


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
