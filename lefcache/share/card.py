"""The card of a repository: README.md, which says what the vectors are and whose licence binds."""

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lefcache.share.described import Described
from lefcache.share.hub import Place
from lefcache.version import __version__

TAGS = ("lefcache", "embeddings", "hidden-states", "frozen-language-models", "zarr")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))


def card(
    place: Place,
    splits: Sequence[Described],
    corpora: Mapping[str, Mapping[str, Any]],
    labelled: bool,
    licence: str = "",
) -> str:
    """The text of README.md for all that a repository holds.

    `corpora` are the attributes of each corpus, `licence` is what the owner gives the vectors out
    under; without it the card says whose licences bind.
    """
    models = {(each.corpus, each.model): each for each in splits}
    parts = [
        _front_matter(splits, models.values(), licence),
        f"# Layers of {_names(each.model for each in splits)} over "
        f"{_names(each.corpus for each in splits)}",
        "The vectors that frozen language models made of the texts of a corpus, one array for each "
        "layer and pooling, extracted with lefcache. **The texts themselves are not in here**: a "
        "cache knows of each only a hash. "
        + (
            "**The labels are**, as numbers beside the vectors."
            if labelled
            else "The labels are not in here either."
        ),
        _pulling(place, splits),
        "## What is here",
        _table(
            ("split", "layers", "rows", "width", "numbers", "bytes"),
            [
                (s.path, s.layers, f"{s.rows:,}", f"{s.width:,}", s.dtype, f"{s.bytes:,}")
                for s in splits
            ],
        ),
        *(_model(each) for each in models.values()),
        *(_corpus(name, attrs) for name, attrs in corpora.items()),
        _licences(models.values(), corpora, licence),
        "## The files",
        "A Zarr v3 tree without compression: any reader of Zarr opens it. A chunk file is the "
        "C-order bytes of its rows. `ledger` has a CRC-32C of each block of each array, the "
        "metadata a seal of its own; `lef pull` checks them all before anything is used.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(splits: Sequence[Described], models: Iterable[Described], licence: str) -> str:
    """YAML, of which JSON values are a part."""
    rows = max(each.rows for each in splits)
    fields: dict[str, Any] = {
        "license": licence or "other",
        **({} if licence else {"license_name": "those-of-model-and-corpus"}),
        "pretty_name": f"Layers of {_names(each.model for each in splits)} over "
        f"{_names(each.corpus for each in splits)}",
        "tags": list(TAGS),
        "task_categories": ["text-classification", "feature-extraction"],
        "size_categories": [next((word for end, word in _SIZES if rows < end), "n>1M")],
        "viewer": False,  # it reads tables of texts
        "lefcache": {
            "version": __version__,
            "models": [
                {
                    "key": f"{each.corpus}/{each.model}",
                    "source": each.source,
                    "revision": each.revision,
                    "licence": each.licence or "unknown",
                    "spec": each.spec.to_json(),
                }
                for each in models
            ],
        },
    }
    lines = [f"{name}: {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _pulling(place: Place, splits: Sequence[Described]) -> str:
    one = splits[0]
    layer = one.arrays[len(one.arrays) // 2].partition("/")[2]
    key = f"{one.corpus}/{one.model}"
    return (
        "## How to get it\n\n```\n"
        f"lef pull {place} --yes\n"
        f"lef pull {place} {key} --layers {layer}    # one layer, without the rest\n"
        f"lef sweep --data {one.corpus} --models {one.model}\n```"
    )


def _model(each: Described) -> str:
    made = {
        "model": each.source or "unknown",
        "revision": each.revision,
        "licence of the model": each.licence or "not known to lefcache: see its own card",
        "blocks": f"{each.depth}",
    }
    shown = [
        (name, value if isinstance(value, str) else json.dumps(value))
        for name, value in (made | each.spec.to_json()).items()
    ]
    title = f"## The model `{each.corpus}/{each.model}`"
    why = "Everything that decides the numbers (its Spec): vectors of another one do not mix."
    return "\n\n".join([title, why, _table(("setting", "value"), shown)])


def _corpus(name: str, attrs: Mapping[str, Any]) -> str:
    rows = ", ".join(f"{split} {count:,}" for split, count in attrs["splits"].items())
    classes = attrs.get("classes") or ()
    facts = [
        ("source", str(attrs.get("source") or "unknown")),
        ("read with", json.dumps(attrs["options"]) if attrs.get("options") else "no options"),
        ("rows", rows),
        ("classes", ", ".join(map(str, classes)) or "not told"),
        ("SHA-256 of the hashes of its texts", str(attrs.get("digest") or "unknown")),
    ]
    facts += [
        (f"CRC-32C of {path}", f"{crc:08x}")
        for path, crc in sorted(attrs.get("checksums", {}).items())
    ]
    return f"## The corpus `{name}`\n\n" + _table(("", ""), facts)


def _licences(models: Iterable[Described], corpora: Iterable[str], licence: str) -> str:
    of_models = sorted(
        {f"{each.source or each.model} ({each.licence or 'licence not known'})" for each in models}
    )
    given = f"Their owner gives these vectors out under {_cell(licence)}. " if licence else ""
    return (
        f"## Licence\n\n{given}Vectors derive from a model, which has a licence of its own: "
        f"{_cell(', '.join(of_models))}. They derive from the texts of a corpus too, "
        f"{_names(corpora)}, whose licence binds as well: look it up where the corpus comes from."
    )


def _names(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Text that stays in its cell and is no markup, whatever is in it."""
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    if not shown.strip():
        return "none"
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(shown, quote=False))
