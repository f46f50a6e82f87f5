"""How places in the tree look in a notebook: a table with a line for each split."""

import html
from collections.abc import Iterable, Mapping
from typing import Any

from lefcache.feature import describe_layers

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
