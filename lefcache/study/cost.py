"""What features cost: bytes on disk, memory in training, seconds to embed and to predict."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import torch

from lefcache.cache import Cache
from lefcache.dtypes import dtype_of
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.study.arrange import arranged
from lefcache.study.rounded import stored_of
from lefcache.train.head import new_head
from lefcache.train.members import Member, bytes_of, own_randomness
from lefcache.train.protocol import training_parts
from lefcache.train.scoring import logits

TIMED = 1000  # rows that a head is timed on
REPEATS = 5


@dataclass(frozen=True)
class Disk:
    """Bytes of some features: of a row, of all splits, and of everything that their models left."""

    row: int
    features: int
    models: int


def disk_of(cache: Cache, tables: Mapping[str, Table]) -> Disk:
    """What these features take on disk; an array that two of them are made of counts once."""
    train = tables["train"]
    arrays = {
        (origin.model, name): width * dtype_of(dtype).itemsize
        for origin, width in zip(train.origins, train.widths, strict=True)
        for name, dtype in zip(origin.arrays, origin.dtypes, strict=True)
    }
    features = models = 0
    for split in tables:
        pages = {model: cache.pages(model, split, train.corpus) for model, _ in arrays}
        features += sum(
            pages[model].store.size(f"{pages[model].path}/{name}") for model, name in arrays
        )
        models += sum(each.store.size(each.path) for each in pages.values())
    return Disk(sum(arrays.values()), features, models)


def stored_as(tables: Mapping[str, Table]) -> str:
    """The types of the features' numbers, each once."""
    return "/".join(dict.fromkeys(map(stored_of, tables["train"].rows)))


def training_memory(tables: Mapping[str, Table], recipe: Recipe, n_train: int | None) -> int:
    """Bytes that training one head holds at its height: its rows, its weights, rows under way.

    Computed from the arrays; a process adds what torch itself takes.
    """
    used, _ = arranged(tables, "validation", n_train, carves=True)
    learned, chosen = training_parts(used["train"], used.get("validation"))
    recipe = recipe.settled(len(tables["train"].features))
    return bytes_of([Member(learned, chosen, 0)], recipe)


def predict_seconds(table: Table, recipe: Recipe, where: torch.device) -> float:
    """Seconds a head of this shape takes for 1,000 rows whose vectors are in memory.

    The median of REPEATS on the first rows of the table. What the weights are does not matter.
    """
    rows = min(TIMED, len(table))
    recipe = recipe.settled(len(table.features))
    read = tuple(np.asarray(each[:rows]) for each in table.rows)
    few = replace(table, rows=read, texts=table.texts[:rows])  # type: ignore[arg-type]
    with own_randomness(0, where):
        head = new_head(table.widths, len(table.classes), recipe).to(where)
    logits(head, few)
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        logits(head, few)
        taken.append(time.perf_counter() - start)
    return median(taken) * TIMED / rows


def embed_seconds(cache: Cache, tables: Mapping[str, Table]) -> float | None:
    """Seconds the models took for 1,000 texts, each model once, as they were extracted.

    None where that was not kept: of vectors that were imported or pulled, and of older caches.
    """
    train = tables["train"]
    total = 0.0
    for model in dict.fromkeys(origin.model for origin in train.origins):
        work = cache.pages(model, "train", train.corpus).model_attrs.get("work", {})
        known = [each for split, each in work.items() if split in tables and each["rows"]]
        if not known:
            return None
        total += sum(each["seconds"] for each in known) / sum(each["rows"] for each in known)
    return 1000 * total
