"""Which rows a study learns from, chooses by and is scored on."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.errors import CorpusError, RecipeError
from lefcache.rows import Matrix, Table
from lefcache.train.protocol import BY_CARVED, BY_SPLIT, BY_TEST, Index, Part, training_parts
from lefcache.wording import count

# What may choose a layer, an operator or an epoch: rows that are no test; or, as the source of the
# method does (arXiv 2504.05764, released code), the test itself.
PROTOCOLS = ("validation", "paper")

Tables = Mapping[str, Table]


def check_protocol(tables: Tables, protocol: str) -> None:
    """Refuse a protocol that there is not, or that these splits do not allow."""
    if protocol not in PROTOCOLS:
        raise RecipeError(f"no protocol '{protocol}': it is one of {', '.join(PROTOCOLS)}")
    if protocol == "paper" and "test" not in tables:
        raise CorpusError(
            f"--protocol paper chooses on the test, and {tables['train'].corpus} has no test with "
            "labels: leave it out"
        )


def arranged(
    tables: Tables, protocol: str, n_train: int | None, carves: bool
) -> tuple[dict[str, Table], str]:
    """The tables that a study really uses, and which rows choose.

    With protocol `paper` the test is the validation too. `n_train` cuts train down to the first
    rows of `nested`, while the rows that choose stay the same for every size; `carves` says whether
    a study without a validation split carves one from train, or does not need it (ridge).
    """
    used = dict(tables)
    by = BY_SPLIT if "validation" in tables else BY_CARVED
    if n_train is not None:
        train = tables["train"]
        learned, chosen = training_parts(train, tables.get("validation"))
        used["train"] = taken(train, nested(learned, n_train))
        if "validation" not in tables and carves:
            used["validation"] = taken(train, chosen.index)
    if protocol == "paper":
        used["validation"], by = tables["test"], BY_TEST
    return used, by


def nested(learned: Part, count_: int, seed: int = 0) -> Index:
    """Rows of the table, `count_` of them or a few fewer: every smaller choice lies in a larger.

    Classes keep their shares, and each has a row as soon as there is one for all; equal texts come
    together, which is why there may be fewer. The choice depends on texts and labels alone, so that
    every layer, operator and seed learns from the same rows.

    Raises CorpusError for more rows than there are, and for fewer than there are classes.
    """
    texts = learned.table.texts[learned.index]
    places, classes = _order(learned.labels, texts, seed)
    whole = len(learned)
    if count_ > whole:
        raise CorpusError(
            f"--n-train {count_}: {learned.table.corpus} has {count(whole, 'row')} to train on "
            "(validation rows apart): give fewer, or all"
        )
    if count_ < classes:
        raise CorpusError(
            f"--n-train {count_}: {learned.table.corpus} has {classes} classes, and each needs a "
            f"row: give at least {classes}"
        )
    sizes = np.array([len(each) for each in places])
    fitting = int(np.searchsorted(np.cumsum(sizes), count_, side="right"))
    fitting = max(fitting, classes)
    return np.sort(learned.index[np.concatenate(places[:fitting])])


def _order(
    labels: NDArray[np.int64], texts: NDArray[np.uint64], seed: int
) -> tuple[list[Index], int]:
    """The rows of each text, in the order in which a growing sample takes them; and C.

    One text of each class leads; then each text comes where its share of the class is
    reached.
    """
    _, first, home, sizes = np.unique(
        texts, return_index=True, return_inverse=True, return_counts=True
    )
    label = labels[first]  # of each text
    shuffled = np.random.default_rng(seed).permutation(len(first))
    due = np.empty(len(first))
    seen = np.unique(label)
    for each in seen:
        mine = shuffled[label[shuffled] == each]
        filled = np.cumsum(sizes[mine])
        due[mine] = (filled - sizes[mine] / 2) / filled[-1]
        due[mine[sizes[mine].argmin()]] = -filled[-1]  # the largest class leads
    rows = np.split(np.argsort(home, kind="stable"), np.cumsum(sizes)[:-1])
    order = shuffled[np.argsort(due[shuffled], kind="stable")]
    return [rows[text] for text in order], len(seen)


def taken(table: Table, index: Index) -> Table:
    """The table's rows at these positions, still in their files."""
    assert table.labels is not None
    rows: tuple[Any, ...] = tuple(Taken(each, index) for each in table.rows)
    return replace(table, rows=rows, labels=table.labels[index], texts=table.texts[index])


class Taken(Matrix):
    """Some rows of a matrix, read from it when they are asked for."""

    def __init__(self, rows: Any, index: Index) -> None:
        self.rows, self.index = rows, index
        self.dtype = np.dtype(rows.dtype)
        self.stored = getattr(rows, "stored", self.dtype)
        self.shape = (len(index), rows.shape[1])
        self.contents = getattr(rows, "contents", "")

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self._gather(np.arange(start, stop))

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        values: NDArray[Any] = self.rows[self.index[chosen]]
        return values


def sizes_of(tables: Tables, words: str) -> list[int | None]:
    """`100,1000,all` as numbers of rows, rising; None for all. Raises what `nested` does, first."""
    sizes: list[int | None] = []
    for word in filter(None, words.replace(" ", "").split(",")):
        if word != "all" and not (word.isdecimal() and int(word)):
            raise RecipeError(
                f"--n-train {words}: give numbers of rows and all, as in 100,1000,all"
            )
        sizes.append(None if word == "all" else int(word))
    if not sizes:
        raise RecipeError("--n-train names no size: give numbers of rows and all")
    learned, _ = training_parts(tables["train"], tables.get("validation"))
    numbers = sorted({size for size in sizes if size is not None})
    for number in numbers:
        nested(learned, number)
    return [*numbers, *([None] if None in sizes else [])]
