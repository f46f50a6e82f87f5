"""How places in the tree are shown: a line for each split, in a list or a notebook."""

import html
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lefcache.cache.documents import bereft, gone
from lefcache.errors import DamagedError
from lefcache.feature import describe_layers
from lefcache.stores.disk import joined

if TYPE_CHECKING:
    from lefcache.cache.pages import Pages
    from lefcache.cache.tree import Cache
    from lefcache.stores import Home

COLUMNS = ("corpus", "model", "split", "layers", "pools", "rows", "done_rows", "width", "dtype")


def html_table(caption: str, entries: Iterable[Mapping[str, Any]]) -> str:
    """Entries of `Cache.ls` as HTML."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    body = ""
    for entry in entries:
        shown = {
            **entry,
            "layers": describe_layers(entry["layers"]),
            "pools": ", ".join(entry["pools"]),
        }
        cells = "".join(f"<td>{html.escape(str(shown[name]))}</td>" for name in COLUMNS)
        body += f"<tr>{cells}</tr>"
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def entries(cache: "Cache", damaged: list[DamagedError] | None) -> list[dict[str, Any]]:
    """What `lef ls` says of every split; errors go to the list, or are raised without one."""
    found = []
    lost = _lost(cache.store, "")
    for corpus, node in cache.items():
        lost += _lost(cache.store, corpus)
        for name, model in node.items():
            lost += _lost(cache.store, f"{corpus}/{name}")
            for split in model:
                try:
                    found.append(one_line(model[split]))
                except DamagedError as error:
                    lost.append(error)
    if lost and damaged is None:
        raise lost[0]
    if damaged is not None:
        damaged += lost
    return found


def _lost(store: "Home", path: str) -> list[DamagedError]:
    """What is not listed below a group only because its metadata is gone."""
    places = (joined(path, name) for name in bereft(store, path))
    return [gone(each) for each in places]


def one_line(pages: "Pages") -> dict[str, Any]:
    """What `lef ls` says of one model and split."""
    arrays = [name for name in pages.arrays if "/" in name]
    infos = [pages.store.info(f"{pages.path}/{name}") for name in arrays]
    dtypes = sorted({str(info.dtype) for info in infos if info})
    layers = dict.fromkeys(layer for pool in pages.pools for layer in pages.layers(pool))
    return {
        "corpus": pages.corpus,
        "model": pages.model,
        "split": pages.split,
        "layers": list(layers),
        "pools": pages.pools,
        "rows": pages.rows,
        "done_rows": pages.done_rows,
        "unfinished": pages.progress(pages.missing),
        "width": int(pages.model_attrs["width"]),
        "dtype": "/".join(dtypes),
        "format": pages.store.format_of(pages.path),
        "bytes": pages.store.size(pages.path),
        "resume": pages.resume_command() if pages.missing else None,
    }
