"""The attributes of a cache's nodes, each held against what it must be before it is used.

A cache may come from a stranger, or from a disk that forgets: here, and nowhere else, attributes
become values that all other code may rely on. A name that is not known is left alone, as long as
it can be shown: a newer lefcache may have written it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lefcache.cache.seals import key_of
from lefcache.columns import Reading
from lefcache.corpus import SPLITS, UNLABELLED
from lefcache.errors import DamagedError, MismatchError
from lefcache.feature import NAME, POOLS, RESERVED
from lefcache.spec import ARRAY, SPEC_DIGEST, STORED
from lefcache.stores import Home, Store
from lefcache.stores.disk import joined
from lefcache.stores.seal import check_place
from lefcache.wording import shown

FORMAT = 1  # of the folder; a higher number is refused by versions that do not know it
MOST_ROWS = 1 << 31
MOST_BLOCKS = 1 << 22
MOST_DEPTH = 10_000
MOST_WIDTH = 1 << 24
MOST_NESTED = 3
# Of an extraction's flags, those that no Spec can tell: an empty prompt may be one taken away.
FLAGS = ("--prompt", "--instruction", "")
READING = tuple(each.name.replace("_", "-") for each in fields(Reading))

Check = Callable[[Any], bool]


def described(store: Store, path: str) -> dict[str, Any]:
    """The attributes of a corpus, model, split or ledger; {} where it is absent.

    Raises DamagedError for any that are not what such a node has.
    """
    with _way_out(path):
        attrs = store.attrs(path)
    schema = _schema_of(path)
    if not attrs:
        return attrs
    for name in [*schema.wanted, *attrs]:
        if not name or not _is_word(name):
            raise DamagedError(
                f"{path}: its metadata is damaged: {shown(repr(name))} is no attribute"
            )
        check = schema.wanted.get(name) or schema.others.get(name) or _is_plain
        if name not in attrs or not check(attrs[name]):
            found = shown(repr(attrs[name])) if name in attrs else "missing"
            raise DamagedError(
                f"{path}: its metadata is damaged, or not ours ({shown(name)} is {found}); "
                f"see: lef verify {path.partition('/')[0]}"
            )
    if schema is SPLIT and -(-attrs["rows"] // attrs["block_rows"]) > MOST_BLOCKS:
        raise DamagedError(f"{path}: {attrs['rows']:,} rows in blocks of {attrs['block_rows']}")
    if schema is SPLIT and attrs["block_rows"] % attrs["chunk_rows"]:
        raise DamagedError(f"{path}: blocks are no whole chunks of {attrs['chunk_rows']:,} rows")
    return attrs


def check_format(store: Store) -> None:
    """Refuse a cache that a newer lefcache has written, of which this one knows not the rules."""
    version = store.attrs("").get("version", FORMAT)
    if not isinstance(version, int) or version > FORMAT:
        raise MismatchError(
            f"{store.root} was written by a newer lefcache (format {shown(version)}, this one "
            f"knows {FORMAT}): upgrade lefcache"
        )


def check_array_place(store: Store, path: str) -> None:
    """Refuse an array in another's place: its rows are those of other texts or another layer."""
    with _way_out(path):
        check_place(store.seal(path).place, path)


def below(store: Store, path: str) -> list[str]:
    """The names below a node, sorted; DamagedError, with the way out, where it cannot be read."""
    with _way_out(path):
        return store.children(path)


def bereft(store: Home, path: str) -> list[str]:
    """The names below a group of what has lost its metadata, and still holds nodes of ours.

    A corpus whose first labels are being written, or were when it was killed, has lost nothing: its
    metadata comes after them, and before its models.
    """
    known = {*below(store, path), *RESERVED}
    lost = [
        name
        for name in store.folders(path)
        if name not in known and {*below(store, joined(path, name))} - {*RESERVED}
    ]
    begun = below(store, path) if lost else []  # by somebody, while this looked
    return [name for name in lost if name not in begun]


@contextmanager
def _way_out(path: str) -> Iterator[None]:
    """Let the error of a file or link, which knows no keys, name the command that helps."""
    try:
        yield
    except DamagedError as error:
        raise DamagedError(f"{error}; see: lef verify {key_of(path)}") from error


def known(store: Store, path: str) -> dict[str, Any]:
    """The attributes of a node that has others below it; DamagedError where it has none itself."""
    if attrs := described(store, path):
        return attrs
    raise gone(path)


def gone(path: str) -> DamagedError:
    """The error of a node that holds others, and has lost its metadata."""
    return DamagedError(f"{path}: its metadata is gone; see: lef verify {key_of(path)}")


def read_rows(
    store: Store, path: str, dtype: DTypeLike, rows: int, sparse: bool = False
) -> NDArray[Any]:
    """The first rows of an array that has a number for each text, held against what that must be.

    Those of a corpus come first, which lie there whole: so there is no array of more rows than a
    disk has bytes for. Raises DamagedError.
    """
    names = path.split("/")
    texts = f"{names[0]}/rows/{names[2]}"
    for each, kind in ((texts, np.dtype(np.uint64)), (path, np.dtype(dtype))):
        info = store.info(each)
        if info is None or info.dtype != kind or len(info.shape) != 1 or info.shape[0] < rows:
            raise DamagedError(f"{each} has no {kind.name} for each of {rows:,} rows")
        check_array_place(store, each)
        if each == texts:
            store.extents(each)
    return store.read(path, rows, sparse)


def check_labels(labels: NDArray[np.int32], classes: int, path: str) -> None:
    """Refuse a label that is the number of no class, unless it is being replaced just now."""
    if ((labels < UNLABELLED) | (labels >= classes)).any():
        corpus = path.partition("/")[0]
        raise DamagedError(f"{path} has numbers of no class; see: lef verify {corpus}")


def _is_word(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return b"\x00" not in value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _is_plain(value: Any, nested: int = MOST_NESTED) -> bool:
    """Whether this can be shown: numbers and words, and lists and mappings of them."""
    if isinstance(value, dict | list):
        inside = [*value, *value.values()] if isinstance(value, dict) else value
        return nested > 0 and all(_is_plain(each, nested - 1) for each in inside)
    return value is None or isinstance(value, bool | int | float) or _is_word(value)


def _is_array(value: Any) -> bool:
    """Whether this is `tokens`, or a pooling of a layer such as `mean/24`."""
    match = ARRAY.fullmatch(value) if isinstance(value, str) else None
    return value == "tokens" or (match is not None and match[1] in POOLS)


def _is_key(value: Any) -> bool:
    """Whether this names a split, such as `sst2/mistral/train`."""
    names = value.split("/") if isinstance(value, str) else []
    return len(names) == 3 and all(map(NAME.fullmatch, names[:2])) and names[2] in SPLITS


def _is_layer(value: Any) -> bool:
    return value == "last" or _count(0, MOST_DEPTH)(value)


def _is_layer_name(value: Any) -> bool:
    return value == "last" or (isinstance(value, str) and value.isascii() and value.isdecimal())


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _count(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _one_of(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _list(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _set(check: Check) -> Check:
    return lambda value: _list(check)(value) and len({*value}) == len(value)


def _map(key: Check, check: Check) -> Check:
    return lambda value: (
        isinstance(value, dict) and all(map(key, value)) and all(map(check, value.values()))
    )


@dataclass(frozen=True)
class _Schema:
    """What each attribute must be: of those that are always there, and of others."""

    wanted: Mapping[str, Check] = field(default_factory=dict)
    others: Mapping[str, Check] = field(default_factory=dict)


_rows, _split = _count(1, MOST_ROWS), _one_of(*SPLITS)

ANY = _Schema()
CORPUS = _Schema(
    {"classes": _set(_is_word), "splits": _map(_split, _rows)},
    {
        "source": _is_word,
        "options": _map(_one_of(*READING), _is_word),
        "digest": _is_word,
        "checksums": _map(_is_word, _count(0, 2**32 - 1)),
        "changing": _list(_split),
    },
)
MODEL = _Schema(
    {
        "spec": _map(_is_word, _is_plain),
        "depth": _count(0, MOST_DEPTH),
        "width": _count(1, MOST_WIDTH),
    },
    {
        "source": _maybe(_is_word),
        "flags": _list(_one_of(*FLAGS)),
        "provenance": _map(_is_word, _is_plain),
        "begun": _list(_split),
        "work": _map(_split, _map(_one_of("rows", "tokens", "seconds"), _is_amount)),
    },
)
SPLIT = _Schema(
    {
        "rows": _rows,
        "block_rows": lambda value: _rows(value) and value & (value - 1) == 0,
        "chunk_rows": _rows,
        "batch_tokens": _count(0, MOST_ROWS),
        "arrays": _set(_is_array),
    },
    {
        "aliases": _map(_is_layer_name, _is_layer),
        "store_dtype": _one_of("auto", *STORED),
        "files": _map(_is_array, _map(_is_word, _is_word)),
        "pulled": _map(_is_word, _is_word),
        "key_there": _is_key,
        SPEC_DIGEST: _is_word,
        "halved_batches": _count(0, 2**63),
    },
)
LEDGER = _Schema(
    others={"arrays": _set(_is_array), "dtypes": _map(_is_array, _one_of("uint32", *STORED))}
)


def _schema_of(path: str) -> _Schema:
    """What a node is, by its place: corpus/model/split/ledger/number."""
    corpus, *names = path.split("/")
    if not corpus or names[:1] in (["labels"], ["rows"]):
        return ANY
    if names[2:3] == ["ledger"] and len(names) == 4:
        return LEDGER
    return (CORPUS, MODEL, SPLIT, ANY, ANY, ANY)[min(len(names), 3)]
