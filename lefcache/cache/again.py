"""The commands that make arrays of a split once more, each as it came to be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lefcache.cache.hints import (
    DEFAULT_CACHE,
    Words,
    by_pool,
    extract_again,
    import_again,
    layer_words,
    products,
)
from lefcache.files import REMOTE
from lefcache.travel import PREFIX

if TYPE_CHECKING:
    from lefcache.cache.pages import Pages

AWAY = (PREFIX, REMOTE)  # what the place begins with that `lef pull` brings layers from


def again(splits: Sequence["Pages"], arrays: Sequence[str]) -> list[Words]:
    """The commands that make these arrays of some splits of a model once more.

    What was pulled is pulled, what was imported is read, and what was extracted is computed.
    """
    commands: list[Words] = []
    computed: dict[tuple[str, ...], list[Pages]] = {}
    for pages in splits:
        origins = pages.attrs.get("pulled", {})
        pulled = [name for name in arrays if origins.get(name, "").startswith(AWAY)]
        commands += pull_again(pages, pulled)
        rest = tuple(name for name in arrays if name not in pulled)
        if by_pool(rest) or not pulled:  # tokens come with any
            computed.setdefault(rest, []).append(pages)
    for names, alike in computed.items():
        if alike[0].spec.imported:
            commands += import_again(alike[0].store, alike[0].path, names)
        else:
            commands += extract_again(alike, names)
    return commands


def pull_again(pages: "Pages", arrays: Sequence[str]) -> list[Words]:
    """The commands that bring arrays of a split from where they came from."""
    here, there = pages.path, pages.attrs.get("key_there", pages.path)
    more = [] if here == there else ["--as", here.rpartition("/")[0]]
    if str(pages.store.root) != DEFAULT_CACHE:
        more += ["--cache", str(pages.store.root)]
    origins: dict[str, list[str]] = {}
    for name in arrays:
        origins.setdefault(pages.attrs["pulled"][name], []).append(name)
    return [
        ["lef", "pull", origin, there, *layer_words(layers, pools), *more]
        for origin, names in origins.items()
        for layers, pools in products(names, pages.asked)
    ]
