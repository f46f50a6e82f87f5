"""Whether values read from a file are those that a dataclass says it has."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Made = TypeVar("Made")


def checked(made: Made) -> Made:
    """The dataclass itself, if its fields are of the kinds that it says; TypeError, naming one."""
    kinds = get_type_hints(type(made))
    for each in fields(made):  # type: ignore[arg-type]  # any dataclass
        value = getattr(made, each.name)
        if not fits(value, kinds[each.name]):
            raise TypeError(f"{each.name} is {value!r:.60}")
    return made


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of the kind that an annotation says, also inside; an int is a float."""
    outer, inner = get_origin(kind), get_args(kind)
    if outer in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if outer is tuple:
        return isinstance(value, tuple) and _all_fit(value, inner)
    if isinstance(outer, type) and issubclass(outer, Mapping):
        return isinstance(value, Mapping) and all(_all_fit(pair, inner) for pair in value.items())
    if is_dataclass(kind):
        return isinstance(value, kind) and _fields_fit(value)  # type: ignore[arg-type]
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool)
    return kind is Any or not isinstance(kind, type) or isinstance(value, kind)


def _fields_fit(made: Any) -> bool:
    kinds = get_type_hints(type(made))
    return all(fits(getattr(made, name), kind) for name, kind in kinds.items())


def _all_fit(values: tuple[Any, ...], kinds: tuple[Any, ...]) -> bool:
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(values)
    return len(values) == len(kinds) and all(map(fits, values, kinds))
