"""What makes two studies the same one, so that neither is run twice."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache import results as store
from lefcache.errors import CorpusError, DamagedError, RecipeError, StorageError
from lefcache.recipe import NUMERICS, Recipe
from lefcache.rows import Table
from lefcache.train.protocol import (
    BY_CARVED,
    BY_SPLIT,
    BY_TEST,
    check_classes,
    check_split,
    known_rows,
    labelled,
)
from lefcache.version import __version__
from lefcache.wording import count, shown

SPLITS = ("train", "validation", "test")

# How a layer or an epoch was chosen.
BY_LEFT_OUT = "leave-one-out"

CHOSEN = {
    BY_TEST: "on the test itself",
    BY_SPLIT: "on validation",
    BY_CARVED: "on rows carved from train",
    BY_LEFT_OUT: "by leave-one-out",
}

# Raised whenever a result says more than before, so that older ones are computed again.
FIGURES = 2

FEW = 30  # rows: luck alone makes figures of fewer


def check_tables(tables: Mapping[str, Table], seeds: Sequence[int]) -> None:
    """Refuse at once what would otherwise fail after hours of training."""
    if "train" not in tables:
        raise CorpusError("a study learns from the split train: give the corpus one with labels")
    if unknown := sorted(set(tables) - set(SPLITS)):
        raise CorpusError(f"no use for the split {unknown[0]}: a study takes {', '.join(SPLITS)}")
    if not seeds:
        raise RecipeError("no seeds: give at least 1")
    learned = labelled(tables["train"])
    check_classes(learned)
    for name in SPLITS[1:]:
        if name in tables:
            check_split(learned, labelled(tables[name]))


def known_of(tables: Mapping[str, Table]) -> dict[str, int]:
    """The rows of validation and test whose text is also in train, by the names in a study."""
    learned = labelled(tables["train"])
    return {
        field: known_rows(learned, labelled(tables[split])) if split in tables else 0
        for split, field in (("validation", "n_val_known"), ("test", "n_test_known"))
    }


def notes_on_known(split: str, known: int, rows: int) -> list[str]:
    """What to know of a figure on texts that a head may have learnt by heart."""
    if not known:
        return []
    verb = "is" if known == 1 else "are"
    return [
        f"{known:,} of {count(rows, f'{split} text')} {verb} also in train: the accuracy on "
        "new texts is likely lower; for a fair figure take them out of one of the two"
    ]


def notes_on_paper(what: str) -> str:
    """What to know of figures under the protocol of the method's source."""
    return (
        f"--protocol paper: {what} was chosen on the test itself, as the method's source does: "
        "these figures are too good, and comparable with figures of the same protocol only"
    )


def notes_on_rows(chosen_on: int, tested_on: int) -> list[str]:
    """What to know of figures of few rows: of those that chose, and of those of the test."""
    lines = []
    if chosen_on < FEW:
        rows = count(chosen_on, "row")
        lines.append(
            f"only {rows} to choose on, {100 / chosen_on:.0f} points each: luck may choose"
        )
    if 0 < tested_on < FEW:
        rows = count(tested_on, "test row")
        lines.append(
            f"only {rows}, {100 / tested_on:.0f} points each: the interval is all there is to see"
        )
    return lines


def notes_on_kept(why_not: str) -> list[str]:
    """What to know of figures that are nowhere but here."""
    return [f"these figures are not kept, and come anew each time: {why_not}"] if why_not else []


def alone(tables: Mapping[str, Table], place: int) -> dict[str, Table]:
    """The same splits with only the feature at this place."""
    return {name: table.alone(place) for name, table in tables.items()}


def identity(
    kind: str,
    tables: Mapping[str, Table],
    recipe: Recipe | None,
    seeds: Sequence[int],
    **more: Any,
) -> dict[str, Any]:
    """Everything that decides a study's figures, as plain values; what is None decides nothing."""
    train = tables["train"]
    return {
        "kind": kind,
        "corpus": train.corpus,
        "digest": digest_of(tables),
        "features": [str(feature) for feature in train.features],
        # Without what is empty: a setting that came later and is not used changes no study.
        "specs": [
            {name: value for name, value in spec.to_json().items() if value} for spec in train.specs
        ],
        # The same layer extracted again may lie there in another precision.
        "stored": [
            f"{getattr(rows, 'stored', rows.dtype)} x {rows.shape[1]}"  # plain arrays too
            for rows in train.rows
        ],
        **_contents(tables),
        "recipe": recipe.to_json() if recipe else None,
        "seeds": list(seeds),
        "numerics": NUMERICS,
        "figures": FIGURES,
        **{name: value for name, value in more.items() if value is not None},
    }


def _contents(tables: Mapping[str, Table]) -> dict[str, Any]:
    """The checksums of vectors that were made elsewhere: others may be imported in their place."""
    found = {
        split: [getattr(rows, "contents", "") for rows in tables[split].rows]  # plain arrays too
        for split in sorted(tables)
    }
    return {"contents": found} if any(map(any, found.values())) else {}


@contextmanager
def as_written(where: object) -> Iterator[None]:
    """Turn what a result that is none does to its reader into DamagedError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(
            f"{where} is not the result of a study ({shown(str(error), 200)}): delete it from the "
            "results folder and run its configuration again"
        ) from error


class Shelf:
    """Where one study's result lies, or would lie; without a folder it holds nothing.

    `tables` are those of the study's identity: whole, as the cache has them.
    """

    def __init__(
        self, results: Path | None, key: dict[str, Any], tables: Mapping[str, Table]
    ) -> None:
        self.results, self.key, self.tables = results, key, tables
        self.id = store.result_id(key)

    def find(self) -> dict[str, Any] | None:
        """The finished study's figures, marked as cached."""
        found = store.find(self.results, self.key["corpus"], self.id) if self.results else None
        if found is None:
            return None
        with as_written(found.path):
            if found.payload["key"] != json.loads(json.dumps(self.key)):
                raise ValueError("it is of another study")
            return {**found.payload["result"], "cached": True}

    def put(
        self,
        result: dict[str, Any],
        predictions: NDArray[Any] | None,
        device: torch.device | str,
        **more: Any,
    ) -> str:
        """Keep the figures, what they are the figures of, and where they were computed.

        Returns why they could not be kept, '' if they were: a disk that is full or read-only takes
        from nobody what hours of training have come to.
        """
        if self.results is None:
            return ""
        provenance = {
            "lefcache": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "device": str(device),
        }
        splits = {
            name: store.fingerprint(table.texts, table.labels, table.classes)
            for name, table in self.tables.items()
            if table.labels is not None
        }
        payload = {
            "key": self.key,
            "result": result,
            "provenance": provenance,
            "splits": splits,
            **more,
        }
        truth = self.tables["test"].labels if predictions is not None else None
        try:
            store.save(self.results, self.key["corpus"], self.id, payload, predictions, truth)
        except StorageError as error:
            return str(error)
        return ""

    def amend(self, beside: Mapping[str, Any] | None = None, **result: Any) -> None:
        """Change figures of the finished study, where they can be; its predictions stay.

        `beside` goes beside the figures, where only studies look.
        """
        found = store.find(self.results, self.key["corpus"], self.id) if self.results else None
        if found is not None and self.results is not None:
            payload = found.payload | {"result": found.payload["result"] | result, **(beside or {})}
            arrays = found.predictions(), found.truth()
            with suppress(StorageError):
                store.save(self.results, self.key["corpus"], self.id, payload, *arrays)


def digest_of(tables: Mapping[str, Table]) -> str:
    """A hash of all texts, labels and classes: corrected labels make another study."""
    whole = hashlib.blake2b(digest_size=8)
    whole.update(repr(tables["train"].classes).encode())
    for name in sorted(tables):
        table = tables[name]
        assert table.labels is not None  # check_tables saw to it
        whole.update(f"{name} {len(table)} ".encode())
        whole.update(np.ascontiguousarray(table.texts, "<u8").tobytes())
        whole.update(np.ascontiguousarray(table.labels, "<i4").tobytes())
    return whole.hexdigest()
