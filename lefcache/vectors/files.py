"""Which file holds which split and layer, and what is in it, read a block at a time."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from lefcache.corpus import SPLITS, Corpus, split_name
from lefcache.errors import NotFiniteError, VectorsError
from lefcache.feature import ALIASES, POOLS, Layer
from lefcache.files import lies_there, path_of

LAYER = re.compile(r"layer-(\d{1,4}|last)")
NAMES = (
    "train.npy, validation.npy or test.npy (one matrix of a split), or layer-12.npy or "
    "layer-last.npy (one layer), alone or in folders train, validation and test"
)


@dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of one layer of one split, still in the file that they came in."""

    split: str
    array: str  # such as "own/last" or "mean/24"
    file: Path
    given: Path  # the path that led to it: the file itself, or a folder
    rows: NDArray[Any]  # (N, D), mapped; row i is the vector of text i

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Rows start..stop as they will be stored, (stop - start, D).

        Raises NotFiniteError that names the row of a value which is NaN, infinite or too large.
        """
        with np.errstate(all="ignore"):
            rows = np.ascontiguousarray(self.rows[start:stop], dtype)
        finite = np.isfinite(rows)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            value = self.rows[start + row, column]
            where = (
                f"{self.file}: row {start + row} (counted from 0) has {value} in column {column}"
            )
            if np.isfinite(value):
                raise NotFiniteError(f"{where}, too large for {dtype}: {_wider(value)}")
            raise NotFiniteError(f"{where}: give every text a vector of finite numbers")
        return rows


@dataclass(frozen=True)
class _Named:
    """A file with what its name says of it; None where it says nothing."""

    file: Path
    given: Path
    split: str | None
    layer: Layer | None


def find_vectors(
    paths: Sequence[str | Path],
    corpus: Corpus,
    *,
    split: str | None = None,
    pool: str | None = None,
) -> list[Vectors]:
    """The matrices in some files and folders, opened and held against the rows of a corpus.

    A file is called after its split (`train.npy`) or its layer (`layer-12.npy`,
    `layer-last.npy`); layers of several splits lie in folders `train` and so on. A file of any
    other name is given by its own path, and is one matrix of the layer `last`.

    Args:
        paths: files and folders.
        corpus: whose texts the rows are the vectors of, in their order.
        split: of files that do not say it; of a folder that does, take only this one.
        pool: how the vectors were pooled; by default `own` for one matrix of a split, the model's
            own pooled vector, and `mean` for layers.

    Raises:
        VectorsError: a file that is no matrix, or not one row for each text, or of nobody knows
            which split.
    """
    pool = ALIASES.get(pool, pool) if pool else None
    if pool and pool not in POOLS:
        raise VectorsError(f"no pool '{pool}': it is one of {', '.join(POOLS)}")
    wanted = split_name(split) if split else None
    named = [each for path in paths for each in _named(path_of(path), wanted)]
    found: dict[tuple[str, str], Vectors] = {}
    for each in named:
        here = each.split or wanted or _only_split(each, corpus)
        if here not in corpus.splits:
            raise VectorsError(
                f"{each.file} is of the split {here}, and {corpus.name} has only "
                f"{', '.join(corpus.splits)}: give those vectors, or data with that split"
            )
        layer = "last" if each.layer is None else each.layer
        array = f"{pool or ('own' if each.layer is None else 'mean')}/{layer}"
        rows = _open(each.file)
        _check_rows(each.file, rows, corpus, here)
        if (other := found.get((here, array))) is not None:
            raise VectorsError(
                f"{other.file} and {each.file} are both {array} of {here}: give one of them"
            )
        found[here, array] = Vectors(here, array, each.file, each.given, rows)
    _check_widths([*found.values()])
    return sorted(found.values(), key=lambda each: [*SPLITS].index(each.split))


def _named(path: Path, wanted: str | None) -> Iterator[_Named]:
    """The files that a path leads to; of those that name a split, the wanted one's."""
    if not lies_there(path):
        raise VectorsError(f"no vectors at '{path}': give a .npy file, or a folder with {NAMES}")
    given = path.resolve()
    if path.is_dir():
        inside = [*_in_folder(path, given)]
        found = [each for each in inside if wanted in (None, each.split) or each.split is None]
        if not found:
            holds = ", ".join(dict.fromkeys(str(each.split) for each in inside)) or "none"
            raise VectorsError(
                f"{path} has no vectors{f' of {wanted}' if inside else ''}: "
                + (f"it has those of {holds}" if inside else f"put there {NAMES}; no .npz, no .pt")
            )
        yield from found
        return
    split = _split(path.stem)
    if split and wanted and split != wanted:
        raise VectorsError(
            f"{path} is named after the split {split} and --split says {wanted}: rename it, or "
            "leave --split out"
        )
    yield _Named(path, given, split, _layer(path.stem))


def _in_folder(folder: Path, given: Path) -> Iterator[_Named]:
    for file in sorted(folder.rglob("*.npy")):
        above = file.relative_to(folder).parts[:-1]
        split = _split(file.stem) if not above else _split(above[0])
        layer = _layer(file.stem)
        # A split's own file, a layer beside others, or a layer in the folder of its split.
        known = (split is None) == (layer is not None) if not above else split and layer is not None
        if not known or len(above) > 1:
            raise VectorsError(
                f"{file}: what are these vectors? A folder holds {NAMES}; rename the file, or "
                "give it by its own path with --split"
            )
        yield _Named(file, given, split, layer)


def _split(name: str) -> str | None:
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def _layer(name: str) -> Layer | None:
    match = LAYER.fullmatch(name)
    if match is None:
        return None
    return "last" if match[1] == "last" else int(match[1])


def _only_split(named: _Named, corpus: Corpus) -> str:
    """The split of a file that does not name one: its folder's, or the only one there is."""
    if len(corpus.splits) == 1:
        return next(iter(corpus.splits))
    folder = named.given if named.given.is_dir() else named.given.parent
    if named.layer is not None and (split := _split(folder.name)):
        return split
    raise VectorsError(
        f"{named.file}: of which split? {corpus.name} has {', '.join(corpus.splits)}: "
        "say it with --split, or name the file after it"
    )


def _open(file: Path) -> NDArray[Any]:
    """The matrix of a file, mapped: nothing is read yet, and no pickle ever."""
    try:
        rows = open_memmap(file, mode="r")
        end, size = rows.offset + rows.nbytes, file.stat().st_size
    except OSError as error:
        raise VectorsError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError, TypeError, OverflowError, TokenError) as error:
        raise VectorsError(
            f"{file} is no whole .npy file of numbers ({error}): write it with "
            "np.save(file, matrix)"
        ) from error
    if size != end:
        raise VectorsError(
            f"{file} holds {size - end:,} bytes after its matrix: write one matrix to a file, "
            "np.concatenate([...]) of its parts"
        )
    if rows.dtype.kind != "f":
        raise VectorsError(
            f"{file} holds {rows.dtype}, not float16, float32 or float64: convert it with "
            "matrix.astype(np.float32)"
        )
    if rows.ndim != 2:
        raise VectorsError(
            f"{file} has the shape {rows.shape}: one row of numbers for each text is wanted"
        )
    return rows


def _check_rows(file: Path, rows: NDArray[Any], corpus: Corpus, split: str) -> None:
    texts = len(corpus.splits[split])
    if len(rows) != texts:
        turned = "; is it transposed? Save matrix.T" if rows.shape[1] == texts else ""
        raise VectorsError(
            f"{file} has {len(rows):,} rows and {corpus.name}/{split} has {texts:,} texts: row i "
            f"must be the vector of text i, in the order of the data's file{turned}"
        )


def _check_widths(found: Sequence[Vectors]) -> None:
    if not found:
        raise VectorsError(f"no paths were given: give .npy files, or a folder with {NAMES}")
    first = found[0]
    for each in found:
        if each.rows.shape[1] != first.rows.shape[1]:
            raise VectorsError(
                f"{first.file} is {first.rows.shape[1]:,} wide and {each.file} "
                f"{each.rows.shape[1]:,}: vectors of one model have one width; import them under "
                "different names"
            )
        if not each.rows.shape[1]:
            raise VectorsError(f"{each.file} has rows without a single number")


def _wider(value: np.floating[Any]) -> str:
    if abs(value) <= np.finfo(np.float32).max:
        return "keep such values with --store-dtype float32, under another NAME if this is there"
    return "divide the matrix by some number first"
