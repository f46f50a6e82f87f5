"""Texts and labels in named splits, read from files or from the hub."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lefcache.aliases import HUB, HubEntry, hub_entry
from lefcache.bundled import bundled
from lefcache.columns import Reading, Sheet, texts_and_labels
from lefcache.errors import CorpusError
from lefcache.feature import NAME, NAMES, RESERVED, name_like
from lefcache.files import lies_there, path_of
from lefcache.hub import load_hub
from lefcache.readers import READERS, SPREADSHEETS, sheet_of
from lefcache.wording import command_line, count, did_you_mean, some

# How files and people spell the three splits; in this order everywhere.
SPLITS = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
UNLABELLED = -1


@dataclass(frozen=True)
class Split:
    """The texts of one split and, where it has them, (N,) int32 labels; -1 is a row without one."""

    texts: Sequence[str]
    labels: NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) != len(self.texts):
            raise CorpusError(f"{len(self.texts)} texts but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"<Split {count(len(self), 'text')}{'' if self.labels is None else ', labelled'}>"

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """(N,) one hash per text, which is what identifies a row in a cache."""
        return np.fromiter(map(hash_text, self.texts), np.uint64, len(self.texts))


@dataclass(frozen=True)
class Corpus:
    """A named text-classification data set.

    `classes` belong to the whole corpus, whichever rows are used; `source` is what finds the
    texts again, with `options` as flags; `notes` are what a reader should know beforehand. A
    split may be given in any spelling that `split_name` knows.
    """

    name: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    source: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name in RESERVED:
            named = f"{name_like(self.name) or 'NAME'}={place_of(self.source) or 'FOLDER'}"
            raise CorpusError(
                f"'{self.name}' cannot name a corpus ({NAMES}; not {', '.join(RESERVED)}): "
                f"name it yourself with {command_line(['--data', named])}"
            )
        splits: dict[str, Split] = {}
        for spelling, content in self.splits.items():
            if (split := split_name(spelling)) in splits:
                raise CorpusError(f"{self.name} has two splits that mean {split}; keep one")
            if not len(content):
                raise CorpusError(f"{self.source}: the split {split} has no rows; leave it out")
            splits[split] = content
        object.__setattr__(self, "splits", splits)  # frozen

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        classes = count(len(self.classes), "class", "classes")
        return f"<Corpus {self.name}: {splits} rows, {classes}>"

    def describe(self) -> list[str]:
        """What is odd about the texts and labels, one line each; nothing is ever dropped."""
        lines, train = list(self.notes), self.splits.get("train")
        for name, split in self.splits.items():
            empty = sum(not text.strip() for text in split.texts)
            repeated = len(split) - len(np.unique(split.hashes))
            counts = [count(repeated, "duplicate text")] * bool(repeated)
            counts += [count(empty, "empty text")] * bool(empty)
            if train is not None and split is not train:
                known = int(np.isin(split.hashes, train.hashes).sum())
                verb = "is" if known == 1 else "are"
                counts += [f"{count(known, 'text')} that {verb} also in train"] * bool(known)
            if split.labels is not None and (missing := int((split.labels == UNLABELLED).sum())):
                counts.append(f"{count(missing, 'row')} without a label")
            if counts:
                lines.append(f"{name}: {', '.join(counts)} (kept)")
        return lines + self._unknown_labels()

    def _unknown_labels(self) -> list[str]:
        train = self.splits.get("train")
        if train is None or train.labels is None:
            return []
        known = set(np.unique(train.labels))
        lines = []
        for name, split in self.splits.items():
            if split.labels is not None:
                strange = sorted(set(np.unique(split.labels)) - known - {UNLABELLED})
                if strange:
                    names = some(self.classes[label] for label in strange)
                    lines.append(f"{name} has labels that train lacks: {names}")
        return lines


def split_name(spelling: str) -> str:
    """The split that a spelling such as `dev` means; CorpusError if it means none."""
    for split, spellings in SPLITS.items():
        if spelling.lower() in spellings:
            return split
    raise CorpusError(
        f"no split '{spelling}': there are train, validation (also valid, val, dev) and test"
    )


def hash_text(text: str) -> int:
    """The 64-bit hash that identifies a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def read_corpus(data: str | Path, **settings: str) -> Corpus:
    """Read `demo`, a folder with `train.tsv|csv|jsonl|parquet` and so on, or a hub data set.

    `data` may also be a short name from `lef data` (`sst2`), a hub id (`org/name`), and `NAME=`
    and any of these; what exists as a path is read as a path. `settings` are the fields of
    `lefcache.columns.Reading`: text_column, label_column, template, config, data_revision.
    Splits are train, validation (also dev, val, valid) and test; any of them may be missing, and
    any may lack labels. One single file is a corpus with only a train split.

    Raises CorpusError for data that cannot be found or read, or a column that is not there.
    """
    given = Reading(**settings)
    found = _find(str(data), given)
    columns = {
        split: texts_and_labels(sheet, found.reading) for split, sheet in found.sheets.items()
    }
    classes = _classes(labels for _, labels, _ in columns.values() if labels is not None)
    index = {label: number for number, label in enumerate(classes)}
    splits = {
        split: Split(texts, None if labels is None else _encode(labels, index))
        for split, (texts, labels, _) in columns.items()
    }
    notes = [f"{split}: {note}" for split, (_, _, note) in columns.items() if note]
    name = corpus_name(str(data))
    return Corpus(name, classes, splits, found.source, given.flags(), (*found.notes, *notes))


def corpus_name(data: str) -> str:
    """The name under which `--data` is kept in a cache: `folder/SST2` is `sst2`."""
    name, equals, folder = data.partition("=")
    return name if equals else re.sub(r"\s+", "-", _stem(Path(folder or name)).lower())


def place_of(data: str) -> str:
    """Where `--data` leads, without the name that it may give."""
    name, equals, place = data.partition("=")
    return place if equals else name


def source_of(data: str) -> str:
    """The `--data` that leads to the same place from any folder."""
    path = path_of(place := place_of(data))
    return data.removesuffix(place) + str(path.resolve()) if lies_there(path) else data


def _stem(path: Path) -> str:
    """A folder's own name, also for `.` and `..`; a file's name without its ending."""
    resolved = path_of(path).resolve() if path.name in ("", "..") else path
    return resolved.stem if resolved.suffix.lower() in READERS else resolved.name


@dataclass(frozen=True)
class _Found:
    """Where `--data` led: the `--data` that leads there from any folder, and what is there."""

    source: str
    sheets: dict[str, Sheet]
    reading: Reading
    notes: tuple[str, ...] = ()


def _find(data: str, given: Reading) -> _Found:
    place = place_of(data)
    path = path_of(place)
    there = lies_there(path)
    is_file = path.suffix.lower() in {*READERS, *SPREADSHEETS}  # what no data set's id ends in
    if not (there or is_file) and (entry := hub_entry(place)):
        return _find_hub(entry, given, data)
    if there or place == "demo":
        return _find_files(path if there else bundled("demo"), given, source_of(data))
    beside = [each.name for each in path.parent.glob("*") if is_file or each.is_dir()]
    near = did_you_mean(place, [*HUB, "demo"]) or did_you_mean(path.name, beside)
    raise CorpusError(
        f"no data at '{path}'{near}: give a folder with train.tsv, .csv, .jsonl or "
        ".parquet (and validation and test beside it), NAME=FOLDER, or the bundled 'demo'; or a "
        "short name that `lef data` lists, or a data set's id on the hub (org/name)"
    )


def _find_files(path: Path, given: Reading, source: str) -> _Found:
    if given.config or given.data_revision:
        raise CorpusError(
            f"--config and --data-revision are for data sets on the hub, and {path} is on this "
            "machine: leave them out"
        )
    files = {"train": path} if path.is_file() else _split_files(path)
    sheets = {split: sheet_of(file) for split, file in files.items()}
    return _Found(source, sheets, given, _unread(path, files))


def _unread(folder: Path, files: Mapping[str, Path]) -> tuple[str, ...]:
    """A note on tables that are no split by their name: `teste.csv` may be meant as one."""
    tables = [] if folder.is_file() else sorted(folder.iterdir())
    left = [
        file.name
        for file in tables
        if file.suffix.lower() in READERS and file.is_file() and file not in files.values()
    ]
    names = "train, validation (also valid, val, dev) and test"
    return (f"not read: {', '.join(left)} (splits are called {names})",) if left else ()


def _find_hub(entry: HubEntry, given: Reading, source: str) -> _Found:
    reading = given.over(entry.reading)
    try:
        there = load_hub(entry, reading)
    except CorpusError as error:
        if (asked := place_of(source)) == entry.id:
            raise
        raise CorpusError(f"--data {asked} stands for {entry.id}: {error}") from error
    wanted = entry.splits or {
        split: next((name for name in there if name.lower() in spellings), "")
        for split, spellings in SPLITS.items()
    }
    sheets = {split: there[name] for split, name in wanted.items() if name in there}
    if not sheets:
        raise CorpusError(
            f"{entry.id} has no split train, validation or test: it has {', '.join(there)}; write "
            "the ones you want as files with these names, and give --data FOLDER"
        )
    left = [name for name in there if name not in wanted.values()]
    unread = (f"not read: {', '.join(left)}",) if left and not entry.splits else ()
    return _Found(source, sheets, reading, entry.notes + unread)


def _split_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for split, spellings in SPLITS.items():
        called = [
            file
            for file in sorted(folder.iterdir())
            if file.stem.lower() in spellings and not file.is_dir()
        ]
        matches = [file for file in called if file.suffix.lower() in READERS]
        # Only to be refused: a test.xlsx that is left alone would be missed much later.
        matches = matches or [file for file in called if file.suffix.lower() in SPREADSHEETS][:1]
        if len(matches) > 1:
            names = " and ".join(file.name for file in matches)
            raise CorpusError(f"{folder}: {names} are both the {split} split; keep one")
        found |= dict.fromkeys([split] if matches else [], matches[0] if matches else folder)
    if not found:
        inside = ", ".join(sorted(file.name for file in folder.iterdir())[:8]) or "nothing"
        endings = ", ".join(READERS)
        raise CorpusError(
            f"{folder} has no split: name the files train, validation and test "
            f"({endings}); it holds {inside}"
        )
    return found


def _classes(columns: Iterable[Iterable[str | None]]) -> tuple[str, ...]:
    """All labels of the corpus: numbers in numeric order, names in alphabetical order."""
    names = {label for column in columns for label in column if label is not None}
    numeric = all(re.fullmatch(r"-?[0-9]{1,300}", name) for name in names)
    # 07 and 7 are the same number and not the same name.
    return tuple(sorted(names, key=lambda name: (int(name), name) if numeric else (0, name)))


def _encode(labels: Iterable[str | None], index: dict[str, int]) -> NDArray[np.int32]:
    codes = [UNLABELLED if label is None else index[label] for label in labels]
    return np.array(codes, np.int32)
