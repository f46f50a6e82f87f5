"""Which rows train, which choose, which are scored: the rules that keep a study honest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.errors import CorpusError, MismatchError
from lefcache.rows import Table
from lefcache.wording import some

FRACTION = 0.1

# Which rows chose a layer or an epoch.
BY_SPLIT = "validation split"
BY_CARVED = "carved from train"
BY_TEST = "test split"

Index = NDArray[np.intp]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Part:
    """The rows of a table that take part: `index` (M,) into it, their `labels` (M,) int64.

    `dropped` rows had no label.
    """

    table: Table
    index: Index
    labels: NDArray[np.int64]
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.index)

    def take(self, chosen: Index) -> "Part":
        """The part's rows at these positions."""
        return Part(self.table, self.index[chosen], self.labels[chosen], self.dropped)

    def alone(self, place: int) -> "Part":
        """The same rows with only the feature at this place."""
        return replace(self, table=self.table.alone(place))


def labelled(table: Table) -> Part:
    """The rows of a table that have a label; CorpusError where there is none."""
    if table.labels is None or not (table.labels >= 0).any():
        raise CorpusError(
            f"the split {table.split} of {table.corpus} has no labels: "
            "give them in its file, or use another split"
        )
    index = np.flatnonzero(table.labels >= 0)
    labels = table.labels[index].astype(np.int64)
    return Part(table, index, labels, len(table) - len(index))


def training_parts(train: Table, validation: Table | None = None) -> tuple[Part, Part]:
    """The rows to learn from and the rows to choose by: the corpus's own split, else a carved one.

    The carved rows depend on texts and labels only, so that every layer, operator and seed is
    judged on the same rows. Prefer the corpus's own split where train holds overlapping texts:
    89 % of phrases carved from SST-2 are parts of a sentence that stays in train.

    Raises:
        CorpusError: a split without labels, a single class to learn, a label to choose by that
            never occurs in train, or a train split too small to carve from.
        MismatchError: two splits of different features, classes or Specs.
    """
    learned = labelled(train)
    check_classes(learned)
    if validation is not None:
        chosen = labelled(validation)
        check_split(learned, chosen)
        return learned, chosen
    kept, carved = carve(learned.labels, train.texts[learned.index])
    if not len(carved):
        raise CorpusError(
            f"{len(learned)} rows of {train.corpus} are too few to carve a validation split from: "
            "give the corpus one"
        )
    return learned.take(kept), replace(learned.take(carved), dropped=0)


def check_classes(train: Part) -> None:
    """Refuse rows that are all of one class: any head would be right on all of them."""
    seen = np.unique(train.labels)
    if len(seen) < 2:
        table = train.table
        raise CorpusError(
            f"every labelled row of {table.split} of {table.corpus} is '{table.classes[seen[0]]}': "
            "there is nothing to tell apart; add rows of another class, or name the right column "
            "with --label-column (with --limit, extract more rows)"
        )


def check_split(train: Part, other: Part) -> None:
    """Refuse a split that a head trained on `train` cannot be judged on."""
    ours, theirs = train.table, other.table
    where = f"{theirs.split} of {theirs.corpus}"
    if ours.features != theirs.features or ours.classes != theirs.classes:
        raise MismatchError(
            f"{where} has other features or classes than {ours.split}: "
            "take both from one cache and one corpus"
        )
    for feature, mine, its in zip(ours.features, ours.specs, theirs.specs, strict=True):
        if lines := mine.difference(its):
            raise MismatchError(
                f"{feature} was extracted differently for {where} than for {ours.split} "
                f"({'; '.join(lines)}): extract both the same way"
            )
    if unknown := sorted({*other.labels.tolist()} - {*train.labels.tolist()}):
        names = some(f"'{ours.classes[label]}'" for label in unknown)
        raise CorpusError(
            f"the label {names} of {where} never occurs in {ours.split}: "
            "no head can predict it; drop those rows or train on more"
        )


def known_rows(train: Part, other: Part) -> int:
    """How many rows of `other` have a text that `train` has too, by their hashes."""
    theirs = other.table.texts[other.index]
    return int(np.isin(theirs, train.table.texts[train.index]).sum())


def carve(
    labels: Labels, texts: NDArray[np.uint64], fraction: float = FRACTION, seed: int = 0
) -> tuple[Index, Index]:
    """Rows to train on and rows to validate on: about `fraction` of every class, both sorted.

    Rows of equal text (hash) stay on one side. A text with two labels is no fair question, so it
    stays in train, and so does the most repeated text of every class: no class loses its last
    training row. Small corpora validate on one row at least, where two texts allow it.

    Args:
        labels: (N,), none of them -1.
        texts: (N,) one hash per text.
        fraction: of each class's rows, rounded to the nearest number.
        seed: which rows are taken.
    """
    assert 0 < fraction < 1
    assert len(labels) == len(texts)
    _, first, home, size = np.unique(
        texts, return_index=True, return_inverse=True, return_counts=True
    )
    label = labels[first]  # of each text
    mixed = np.zeros(len(first), bool)
    mixed[home[labels != label[home]]] = True
    generator = np.random.default_rng(seed)
    # In random order, then by class; sorting is stable, so the order within a class stays random.
    order = generator.permutation(len(first))
    order = order[np.argsort(label[order], kind="stable")]
    taken: list[Index] = []
    spare: list[Index] = []
    for one in np.unique(labels):
        mine = order[(label[order] == one) & ~mixed[order]]
        free = np.delete(mine, size[mine].argmax()) if len(mine) else mine
        target = int(fraction * np.count_nonzero(labels == one) + 0.5)
        taken.append(_fill(free, size, target))
        spare.append(free)
    if not sum(map(len, taken)):
        taken = [_largest(spare)[:1]]
    validates = np.isin(home, np.concatenate(taken))
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def _fill(texts: Index, size: NDArray[np.intp], target: int) -> Index:
    """The first texts whose rows together are at most `target`."""
    fitting = texts[size[texts] <= target]
    return fitting[np.cumsum(size[fitting]) <= target]


def _largest(lists: Sequence[Index]) -> Index:
    return max(lists, key=len)
