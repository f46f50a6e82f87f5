"""`lef show KEY`: everything the cache knows about a corpus, a model or a split."""

from collections.abc import Iterable, Iterator, Mapping
from math import isnan
from typing import TYPE_CHECKING, Any

import click

from cli.candidates import keys
from cli.output import deliver, duration, facts, plain, size, tell
from cli.params import cache_option, form_options
from lefcache.errors import DamagedError
from lefcache.spec import Spec
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache.cache import Cache, Pages
    from lefcache.cache.keys import Key


@click.command("show")
@click.argument("key", shell_complete=keys)
@cache_option
@form_options
def command(key: str, cache: str, form: str) -> None:
    """Show a corpus (sst2), a model's extraction (sst2/mistral) or a split (sst2/mistral/train).

    A split shows its settings, where it was made, tokens and truncations, and its arrays: their
    type, size, the largest magnitude among their values, and the mean norm of the first vectors.
    A layer or a pooling (sst2/mistral:24, sst2/mistral@max) shows these arrays of every split.

    \b
    Examples:
      lef show demo/minilm/train
      lef show demo/minilm:3,last
      lef show demo --json
      lef show demo/minilm --csv
    """
    import lefcache
    from lefcache.cache.keys import Key

    wanted = Key.parse(key)
    document = _describe(lefcache.open(cache), wanted)
    rows = ({"key": name, "value": value} for name, value in _flat(document))
    deliver(form, document, ("key", "value"), rows, lambda: _show(wanted, document))


def _flat(document: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """`spec.dtype` and the like with their plain values."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", plain(value) if isinstance(value, list | tuple) else value


def _describe(cache: "Cache", key: "Key") -> dict[str, Any]:
    if key.in_part:
        return _describe_layers(cache, key)
    corpus = cache[key.corpus]
    if not key.model:
        attrs = {name: value for name, value in corpus.attrs.items() if name != "checksums"}
        return attrs | {"models": list(corpus)}
    model = corpus[key.model]
    if not key.split:
        from lefcache.cache.documents import described
        from lefcache.cache.lost import BEGUN, splits_gone

        attrs = described(cache.store, key.path)
        attrs.pop(BEGUN, None)
        known = {"spec": _spec(attrs["spec"]), "extracted": list(model)}
        gone = splits_gone(cache.store, key.path)
        if gone and known["extracted"]:
            way = cache.split_command(key.corpus, key.model, gone)
            known |= {"gone": gone, "get_back": way}
        return attrs | known
    return _describe_split(model[key.split])


def _describe_layers(cache: "Cache", key: "Key") -> dict[str, Any]:
    """Of each split, the arrays that a key means."""
    from lefcache.cache.keys import arrays_meant, check_there

    check_there(cache, key)
    splits = cache.below(key.path)
    meant = arrays_meant(key, ((pages, pages.arrays) for pages in splits))
    return {
        pages.split: _describe_arrays(pages, names)
        for pages, names in zip(splits, meant, strict=True)
    }


def _describe_arrays(pages: "Pages", names: Iterable[str]) -> dict[str, Any]:
    from lefcache.cache.magnitudes import mean_norm

    magnitudes = pages.magnitudes()
    arrays = {}
    for name in names:
        info = pages.store.info(f"{pages.path}/{name}")
        if info is None:
            raise DamagedError(f"{pages.path}/{name} is not there; see: lef verify {pages.path}")
        arrays[name] = {
            "shape": list(info.shape),
            "dtype": str(info.dtype),
            "chunk_rows": info.chunk_rows,
            "largest": _largest(magnitudes.get(name, ())),
            "norm": mean_norm(pages, name) if len(info.shape) > 1 else None,
            "bytes": pages.store.size(f"{pages.path}/{name}"),
        }
    return arrays


def _describe_split(pages: "Pages") -> dict[str, Any]:
    return {
        "spec": _spec(pages.spec.to_json()),
        "provenance": pages.model_attrs.get("provenance", {}),
        "rows": {
            "asked": pages.rows,
            "done": pages.done_rows,
            "progress": pages.progress(pages.asked),
            "block_rows": pages.block_rows,
            **_tokens(pages),
            "halved_batches": int(pages.attrs.get("halved_batches", 0)),
            "work": pages.model_attrs.get("work", {}).get(pages.split),
            "bytes": pages.describe()["bytes"],
        },
        "aliases": pages.aliases,
        "arrays": _describe_arrays(pages, pages.arrays),
        **_files(pages),
    }


def _show(key: "Key", document: Mapping[str, Any]) -> None:
    tell(key.text)
    if key.in_part:
        document = {split: _arrays_in_words(arrays) for split, arrays in document.items()}
    elif key.split:
        document = _in_words(document)
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            tell(name)
            facts(value)
        else:
            facts({name: value}, indent="")


def _in_words(split: Mapping[str, Any]) -> dict[str, Any]:
    """A split's figures as a person reads them."""
    rows = split["rows"]
    done = "; ".join(rows["progress"])
    counted = {
        "asked for": f"{rows['asked']:,}",
        "done": f"{done}, in blocks of {count(rows['block_rows'], 'row')}",
        **_tokens_in_words(rows, split["spec"]),
        **_halved_in_words(rows["halved_batches"]),
        **_work_in_words(rows["work"]),
        "on disk": size(rows["bytes"]),
    }
    return {**split, "rows": counted, "arrays": _arrays_in_words(split["arrays"])}


def _arrays_in_words(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{' x '.join(f'{length:,}' for length in each['shape'])} {each['dtype']}, "
        f"chunks of {count(each['chunk_rows'], 'row')}, {size(each['bytes'])}"
        + _reach(name, each["largest"], each["norm"])
        for name, each in arrays.items()
    }


def _largest(magnitudes: Iterable[float]) -> float | None:
    """The largest magnitude of an array in all its blocks that are there, if that is known."""
    return max((float(each) for each in magnitudes if not isnan(each)), default=None)


def _reach(name: str, largest: float | None, norm: float | None) -> str:
    """How near numbers come to the end of their type, and how long vectors are."""
    reach = "" if largest is None or name == "tokens" else f", up to {largest:,.6g}"
    return reach + ("" if norm is None else f", mean norm {norm:,.4g}")


def _tokens_in_words(rows: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, str]:
    if rows["tokens"] is None:
        return {"tokens": "unknown: these vectors were made elsewhere"}
    limit = count(spec["max_length"], "token")
    cut = f"{count(rows['cut'], 'text')} longer than {limit}"
    return {
        "tokens": f"{rows['tokens']:,} pooled, {rows['longest']:,} in the longest text",
        "cut": f"no text: read in windows of {limit}" if spec["long"] == "windows" else cut,
    }


def _halved_in_words(batches: int) -> dict[str, str]:
    if not batches:
        return {}
    return {"halved": f"{count(batches, 'batch', 'batches')} that did not fit in memory"}


def _work_in_words(work: Mapping[str, float] | None) -> dict[str, str]:
    """What the model took, where that was kept."""
    if not work:
        return {}
    rate = work["tokens"] / work["seconds"] if work["seconds"] else 0
    return {
        "the model read": f"{count(int(work['rows']), 'row')}, {work['tokens']:,.0f} tokens in "
        f"{duration(work['seconds'])} ({rate:,.0f} tokens/s)"
    }


def _spec(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings; of vectors that were made elsewhere, those that are known."""
    imported = Spec.from_json(settings).imported
    return {name: value for name, value in settings.items() if value or not imported}


def _tokens(pages: "Pages") -> dict[str, int | None]:
    if pages.spec.imported:
        return dict.fromkeys(("tokens", "longest", "cut"))
    tokens, cut = pages.tokens()
    return {"tokens": int(tokens.sum()), "longest": int(tokens.max()), "cut": int(cut.sum())}


def _files(pages: "Pages") -> dict[str, dict[str, str]]:
    files = {
        name: f"{each['file']}, sha256 {each['sha256']}, read {each['read']}"
        for name, each in pages.files.items()
    }
    return {"files": files} if files else {}
