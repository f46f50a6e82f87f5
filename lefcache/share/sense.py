"""Does the metadata of a stranger make sense? What it says of itself is believed only then."""

from collections.abc import Callable, Mapping
from typing import Any

from lefcache.cache import Pages
from lefcache.columns import Reading
from lefcache.corpus import SPLITS
from lefcache.errors import DamagedError
from lefcache.spec import ARRAY
from lefcache.stores.mixed import MixedStore

MOST = 1 << 40  # rows, blocks, tokens of a batch: more than anybody has
WIDEST = 1 << 24

Check = Callable[[Any], bool]


def check_corpus(store: MixedStore, corpus: str) -> None:
    """Raise DamagedError for attributes that no corpus of ours has."""
    attrs = store.attrs(corpus)
    _check(
        corpus,
        attrs,
        {
            "splits": lambda v: _is_map(v, lambda n: _is_count(n, MOST)) and {*v} <= {*SPLITS},
            "classes": lambda v: _is_list(v, _is_text) and len({*v}) == len(v),
            "source": _is_text,
            "options": lambda v: v is None or _is_map(v, _is_text),
            "checksums": lambda v: v is None or _is_map(v, _is_sum),
        },
    )
    Reading.from_flags(attrs.get("options") or {})


def check_split(pages: Pages) -> None:
    """Raise DamagedError for attributes that no model and no split of ours has."""
    model = f"{pages.corpus}/{pages.model}"
    _check(
        model,
        pages.model_attrs,
        {
            "spec": lambda v: isinstance(v, dict),
            "depth": lambda v: v == 0 or _is_count(v, WIDEST),
            "width": lambda v: _is_count(v, WIDEST),
            "source": lambda v: v is None or _is_text(v),
            "flags": lambda v: v is None or _is_list(v, _is_text),
            "provenance": lambda v: isinstance(v, dict),
        },
    )
    _check(
        pages.path,
        pages.attrs,
        {
            "rows": lambda v: _is_count(v, MOST),
            "block_rows": lambda v: _is_count(v, MOST) and v & (v - 1) == 0,
            "batch_tokens": lambda v: v == 0 or _is_count(v, MOST),
            "arrays": lambda v: _is_list(v, _is_array),
            "aliases": lambda v: _is_map(v, lambda to: to == "last" or _is_count(to, WIDEST)),
            "files": lambda v: v is None or _is_map(v, lambda each: _is_map(each, _is_text)),
        },
    )
    for generation in pages.generations:
        if not all(map(_is_array, generation.arrays)):
            raise DamagedError(f"{pages.path}: a ledger names what can be no array")


def _check(place: str, attrs: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    for name, check in checks.items():
        if not check(attrs.get(name)):
            raise DamagedError(
                f"{place}: {name} is {str(attrs.get(name))[:80]!r}, which it cannot be"
            )


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_sum(value: object) -> bool:
    return value == 0 or _is_count(value, 0xFFFF_FFFF)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_array(value: object) -> bool:
    return isinstance(value, str) and bool(value == "tokens" or ARRAY.fullmatch(value))


def _is_list(value: object, check: Check) -> bool:
    return isinstance(value, list) and all(map(check, value))


def _is_map(value: object, check: Check) -> bool:
    return isinstance(value, dict) and all(map(check, value.values()))
