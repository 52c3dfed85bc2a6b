"""Ranges that stand beside the fields of a component, such as `ridge: Positive = 1e-6`.

A configuration and a manifest are checked against them; whoever calls a class is not.
"""

from functools import lru_cache
from typing import Annotated, Any, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from miner.support.components import COMPONENT


def rule(text: str, **bounds: Any) -> Any:
    """Bounds, as those of `pydantic.Field`, with the sentence that refuses other values."""
    return Field(description=f"must {text}", **bounds)


def whole(low: int, high: int) -> Any:
    """Bounds of a whole number."""
    return rule(f"be a whole number from {low} to {high}", ge=low, le=high)


ClassName = Annotated[str, rule("name a class", alias="_target_")]
Count = Annotated[int, rule("be a whole number of at least 1, at most 2^62", ge=1, le=2**62)]
Positive = Annotated[float, rule("be a number above 0", gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, rule("be above 0 and at most 1", gt=0, le=1, allow_inf_nan=False)]


class Group(BaseModel):
    """Settings and their ranges; a setting of another name is refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Ranges(Group):
    """A class's name and the values of its fields; those without a range may be anything."""

    model_config = ConfigDict(extra="allow")
    target: ClassName


@lru_cache
def ranges_of(cls: type, base: type[Ranges] = Ranges) -> type[Ranges]:
    """The ranges beside the fields of a class, its own and those of its bases; `base` decides."""
    own = {field.alias or name for name, field in base.model_fields.items()}
    fields: Any = {  # under other names, as Pydantic has methods and refuses underscores
        f"field_{name}": (hint, Field(getattr(cls, name, None), alias=name))
        for name, hint in get_type_hints(cls, include_extras=True).items()
        if get_origin(hint) is Annotated and COMPONENT not in hint.__metadata__ and name not in own
    }
    return create_model(cls.__name__, __base__=base, **fields) if fields else base
