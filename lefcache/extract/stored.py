"""Vectors of a cache made once more: are they those that this model gives here and now?"""

from collections.abc import Sequence

import numpy as np
import torch

from lefcache.cache import Cache, Pages
from lefcache.cache.hints import corpus_flags, extract_command, model_flags
from lefcache.corpus import Corpus
from lefcache.extract.backbone import Backbone, Encoded
from lefcache.extract.batching import plan_batches
from lefcache.extract.checks.probe import agreement, distance, tolerance, worst
from lefcache.extract.embed import embed_texts
from lefcache.extract.finding import Finding
from lefcache.extract.order import own_flags
from lefcache.extract.pooling import POOLINGS

ROUNDED = 4e-3  # what storing as bfloat16 takes from the largest value of a vector; float16 less


def examine_stored(cache: Cache, backbone: Backbone, corpus: Corpus) -> tuple[Finding, ...]:
    """Compare rows of every split in the cache with the model, in their own batches and alone.

    There is nothing to compare, and the check skipped, where the cache does not hold the model or
    its vectors were made elsewhere.
    """
    known = cache.spec(backbone.name, corpus.name)
    where = f"{corpus.name}/{backbone.name}"
    if known is None:
        fix = f"put it there with: {_way_there(cache, backbone, corpus)}"
        return (Finding("cache", "skipped", f"{where} is not in the cache {cache.path}", fix),)
    if known.imported:
        return (Finding("cache", "skipped", f"{where} was imported: nothing was made from texts"),)
    findings = []
    if differ := known.difference(backbone.spec):
        fix = "load the model with the settings of the cache, or extract again with --as NAME"
        findings.append(Finding("cache settings", "wrong", "; ".join(differ), fix))
    else:
        findings.append(Finding("cache settings", "ok", f"{where} was made with these settings"))
    for split in corpus.splits:
        if split in cache[corpus.name][backbone.name]:
            findings += _examine_split(cache, backbone, corpus, split)
    return tuple(findings)


def _way_there(cache: Cache, backbone: Backbone, corpus: Corpus) -> str:
    """The command that extracts the corpus with this very model."""
    name, source = backbone.name, backbone.source
    more = corpus_flags({"options": corpus.options})
    more += model_flags(backbone.spec, backbone.provenance, own_flags(backbone))
    model = source if source == name else f"{name}={source}"
    return extract_command(cache.path, corpus.source, model, more=more)


def _examine_split(cache: Cache, backbone: Backbone, corpus: Corpus, split: str) -> list[Finding]:
    pages = cache.pages(backbone.name, split, corpus.name)
    name = f"cache {split}"
    arrays = [
        each
        for each in pages.arrays
        if pages.done[each] == pages.rows and _poolable(backbone, each)
    ]
    if not arrays:
        return [Finding(name, "skipped", f"{pages.path} holds no array of all its rows yet")]
    kept = cache.store.read(f"{corpus.name}/rows/{split}")[: pages.rows]
    hashes = corpus.splits[split].hashes[: pages.rows]
    if not np.array_equal(kept, hashes):
        fix = "give the data that the cache was made from with --data"
        return [Finding(name, "wrong", f"the texts of {pages.path} are others than these", fix)]
    texts = corpus.splits[split].texts[: min(pages.rows, pages.block_rows)]
    unique = list(dict.fromkeys(texts))
    encoded = backbone.tokenize(unique)
    plan = plan_batches([len(each) for each in encoded], int(pages.attrs["batch_tokens"]))
    place = {text: row for row, text in reversed([*enumerate(texts)])}
    chosen = sorted({0, len(plan) // 2, len(plan) - 1})
    batches = [plan[number] for number in chosen]
    rows = [[place[unique[i]] for i in batch] for batch in batches]
    tokens = [[encoded[i] for i in batch] for batch in batches]
    alone = [[each] for each in tokens[0][:1] + tokens[-1][-1:]]
    return [
        _compared(f"{name}, in its batches", backbone, pages, arrays, tokens, rows),
        _compared(f"{name}, alone", backbone, pages, arrays, alone, [rows[0][:1], rows[-1][-1:]]),
    ]


def _poolable(backbone: Backbone, array: str) -> bool:
    pool = array.partition("/")[0]
    return pool in POOLINGS or (pool == "own" and backbone.own is not None)


def _compared(
    name: str,
    backbone: Backbone,
    pages: Pages,
    arrays: Sequence[str],
    batches: Sequence[Sequence[Encoded]],
    rows: Sequence[Sequence[int]],
) -> Finding:
    """What the batches give now against the stored rows."""
    figures: dict[str, float] = dict.fromkeys(arrays, 0.0)
    for batch, places in zip(batches, rows, strict=True):
        for array, now in zip(arrays, embed_texts(backbone, batch, arrays), strict=True):
            pool, _, layer = array.partition("/")
            stored = np.asarray(pages[pool][layer][np.array(places)])
            rounded = torch.from_numpy(now.numpy().astype(stored.dtype).astype(np.float32))
            before = torch.from_numpy(stored.astype(np.float32))
            figures[array] = max(figures[array], distance(rounded, before))
    seen = f"{sum(map(len, rows))} rows of {pages.path} in {len(arrays)} arrays"
    if max(figures.values()) <= max(ROUNDED, tolerance(backbone)):
        found = f"{seen} are what the model gives now, {agreement(figures, 'array')}"
        return Finding(name, "ok", found, figures=figures)
    return Finding(
        name,
        "wrong",
        f"{seen} are not what the model gives now: they differ by "
        f"{worst(figures, 'array')}, relative to the largest value of a vector",
        "they were made with other numerics or were damaged: extract them again with --as NAME",
        figures,
    )
