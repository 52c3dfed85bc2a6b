"""What pydantic finds wrong, said in one line each."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError


def one_line_each(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """One line for each wrong setting: its name, its value and its rule.

    The rule is the field's description in the schema.
    """
    found: dict[str, str] = {}
    for problem in error.errors():
        name, rule = _describe(schema, [str(part) for part in problem["loc"]])
        if problem["type"] == "extra_forbidden":
            name = ".".join(str(part) for part in problem["loc"])
            rule = "there is no such setting; see python -m miner.run --help"
        if problem["type"] == "missing":
            found.setdefault(name, f"{name}: is missing, and {rule or problem['msg']}")
        else:
            found.setdefault(name, f"{name}={_typed(problem['input'])}: {rule or problem['msg']}")
    return list(found.values())


def _typed(value: Any) -> str:
    """A value as people type it."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _describe(schema: type[BaseModel], path: Sequence[str]) -> tuple[str, str]:
    """The name of the setting at a path of the schema, and its rule."""
    model: Any = schema
    names: list[str] = []
    rule = ""
    for part in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            break
        fields = {f.alias or name: f for name, f in model.model_fields.items()}
        names.append(part)
        if part in fields:
            rule = fields[part].description or ""
        model = fields[part].annotation if part in fields else None
    return ".".join(names), rule
