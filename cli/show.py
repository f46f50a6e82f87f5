"""`lef show KEY`: everything the cache knows about a corpus, a model or a split."""

from typing import TYPE_CHECKING, Any

import click

from cli.output import facts, print_json, size
from cli.params import cache_option, json_option

if TYPE_CHECKING:
    from lefcache.cache import Cache, Pages


@click.command("show", short_help="Show what one entry was made from.")
@click.argument("key")
@cache_option
@json_option
def command(key: str, cache: str, as_json: bool) -> None:
    """Show a corpus (sst2), a model's extraction (sst2/mistral) or a split (sst2/mistral/train).

    A split shows its settings, where it was made, its arrays, and tokens and truncations.

    \b
    Examples:
      lef show demo/minilm/train
      lef show demo --json
    """
    import lefcache

    opened = lefcache.open(cache)
    parts = key.strip("/").split("/")
    if len(parts) > 3:
        raise click.UsageError("KEY is corpus, corpus/model or corpus/model/split")
    document = _describe(opened, parts)
    if as_json:
        print_json(document)
        return
    click.echo(key)
    for name, value in document.items():
        if isinstance(value, dict):
            click.echo(f"{name}")
            facts(value)
        else:
            facts({name: value}, indent="")


def _describe(cache: "Cache", parts: list[str]) -> dict[str, Any]:
    corpus = cache[parts[0]]
    if len(parts) == 1:
        return corpus.attrs | {"models": list(corpus)}
    model = corpus[parts[1]]
    if len(parts) == 2:
        return cache.store.attrs("/".join(parts)) | {"extracted": list(model)}
    return _describe_split(cache.pages(parts[1], parts[2], parts[0]))


def _describe_split(pages: "Pages") -> dict[str, Any]:
    arrays = {}
    for name in pages.arrays:
        info = pages.store.info(f"{pages.path}/{name}")
        assert info is not None
        shape = " x ".join(f"{length:,}" for length in info.shape)
        arrays[name] = f"{shape} {info.dtype}, chunks of {info.chunk_rows:,} rows"
    tokens, cut = pages.tokens()
    return {
        "spec": pages.spec.to_json(),
        "provenance": pages.model_attrs["provenance"],
        "rows": {
            "asked for": f"{pages.rows:,}",
            "done": f"{'; '.join(pages.progress(pages.asked))}, in blocks of {pages.block_rows:,}",
            "tokens": f"{int(tokens.sum()):,} pooled, {int(tokens.max()):,} in the longest text",
            "cut": f"{int(cut.sum()):,} texts longer than {pages.spec.max_length} tokens",
            "on disk": size(pages.describe()["bytes"]),
        },
        "aliases": pages.aliases,
        "arrays": arrays,
    }
