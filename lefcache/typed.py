"""Dataclasses from plain values read from a file, which are those that their fields say."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Made = TypeVar("Made")


def from_plain(kind: type[Made], values: Mapping[str, Any]) -> Made:
    """The dataclass that `asdict` made these values of, also through JSON, which has no tuples.

    Raises TypeError or ValueError for values that are not its fields.
    """
    kinds = get_type_hints(kind)
    read = {name: _as_said(value, kinds.get(name)) for name, value in values.items()}
    return checked(kind(**read))


def _as_said(value: Any, kind: Any) -> Any:
    """A value in the shape of its annotation; what does not fit that stays as it is."""
    outer, inner = get_origin(kind), get_args(kind)
    if outer in (Union, UnionType):
        shapes = [each for each in inner if get_origin(each) is tuple or is_dataclass(each)]
        return _as_said(value, shapes[0]) if shapes and value is not None else value
    if outer is tuple and isinstance(value, list | tuple):
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        return tuple(map(_as_said, value, kinds)) if len(kinds) == len(value) else value
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return from_plain(kind, value)
    return value


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
