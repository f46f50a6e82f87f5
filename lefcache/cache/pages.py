"""The pages of one model over one split: which arrays there are, and which blocks are whole."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache import hints
from lefcache.cache.again import again
from lefcache.cache.display import html_table, one_line
from lefcache.cache.documents import described, known, read_rows
from lefcache.cache.identity import check_made_alike
from lefcache.cache.layers import Layers, array_name, stored_as
from lefcache.cache.ledger import Generation, finished, read_generations
from lefcache.cache.magnitudes import read_magnitudes
from lefcache.cache.sums import check_array
from lefcache.corpus import SPLITS
from lefcache.errors import DamagedError, FeatureError, IncompleteError
from lefcache.feature import POOLS, Feature, Layer, describe_layers
from lefcache.rows import Matrix, MeanRows, Rows
from lefcache.spec import Origin, Spec
from lefcache.stores import ArrayInfo, Home

TOKENS = "tokens"  # (N,) uint32: how many tokens were pooled
CUT = np.uint32(1 << 31)  # its high bit: the text was longer than the model may read


class Pages(Mapping[str, Layers]):
    """What one model left of one split: `pages["mean"][24]` is an (N, D) matrix on disk."""

    window: range | None = None  # the blocks whose ledger rows are read, if it is not all

    def __init__(
        self, store: Home, corpus: str, model: str, split: str, *, alone: bool = False
    ) -> None:
        self.store, self.corpus, self.model, self.split = store, corpus, model, split
        self.path, above = f"{corpus}/{model}/{split}", f"{corpus}/{model}"
        self.model_attrs = {} if alone else described(store, above)
        self.attrs = described(store, self.path)
        if self.attrs and not alone:  # what lies above may be gone
            known(store, corpus), known(store, above)
            check_made_alike(store, self.path, self.attrs, self.model_attrs)

    @property
    def rows(self) -> int:
        """How many rows of the split were asked for."""
        return self._count("rows")

    @property
    def block_rows(self) -> int:
        """Rows in a block, the unit of work and of commit."""
        return self._count("block_rows")

    def _count(self, name: str) -> int:
        if not self.attrs:
            raise DamagedError(f"{self.path} is not there: it has no {name}")
        return int(self.attrs[name])

    @property
    def depth(self) -> int:
        """The number of blocks n of the model."""
        return int(self.model_attrs["depth"])

    @property
    def aliases(self) -> dict[str, Layer]:
        """Layers that are another one's second name: no norm follows BERT's last block."""
        return dict(self.attrs.get("aliases", {}))

    @property
    def files(self) -> dict[str, dict[str, str]]:
        """Of each imported array, the file it was read from, and what that file was."""
        return dict(self.attrs.get("files", {}))

    @cached_property
    def spec(self) -> Spec:
        """What the numbers were made with."""
        return Spec.from_json(self.model_attrs["spec"])

    @cached_property
    def generations(self) -> list[Generation]:
        """The sets of arrays, in the order in which they were added."""
        return read_generations(self.store, self.path, self.window)

    @property
    def asked(self) -> list[str]:
        """Names such as `mean/24` of the arrays that were asked for, `tokens` among them."""
        return list(self.attrs["arrays"])

    @property
    def arrays(self) -> list[str]:
        """Those of them that exist; how far they are, the ledgers say."""
        return list(dict.fromkeys(name for each in self.generations for name in each.arrays))

    def finished(self, generation: Generation) -> NDArray[np.bool_]:
        """(blocks,) which blocks of these arrays are whole."""
        return finished(generation.ledger, self.rows, self.block_rows)

    def checksums(self, array: str) -> list[tuple[int, int, int]]:
        """First row, rows and CRC-32C of each block of an array that its ledger vouches for."""
        return [
            (block * self.block_rows, rows, checksum)
            for generation in self.generations
            if array in generation.arrays
            for block, rows, checksum in generation.checksums(array)
        ]

    def magnitudes(self) -> dict[str, NDArray[np.float32]]:
        """Of each array, the largest magnitude (blocks,) in each block, NaN for a missing one.

        That of `tokens` is the longest text. A cache from before they were kept lacks them.
        """
        return read_magnitudes(self)

    @property
    def done_rows(self) -> int:
        """Rows that every array has which was begun; `progress` tells them apart."""
        if not self.generations:
            return 0  # an extraction that was stopped within its first block
        return self._rows_in(np.logical_and.reduce([*map(self.finished, self.generations)]))

    @cached_property
    def done(self) -> dict[str, int]:
        """How many rows each array has that was asked for; one that was not begun has 0."""
        done = dict.fromkeys(self.asked, 0)
        for generation in self.generations:
            rows = self._rows_in(self.finished(generation))
            done |= {name: max(rows, done.get(name, 0)) for name in generation.arrays}
        return done

    @property
    def missing(self) -> list[str]:
        """The arrays that were asked for and lack rows."""
        return [name for name, rows in self.done.items() if rows < self.rows]

    def progress(self, arrays: Iterable[str]) -> list[str]:
        """`9 of 9 rows; mean: layers 0..3, last`: arrays that have equally many rows, together."""
        sets: dict[int, list[str]] = {}
        for name in arrays:
            if name != TOKENS:
                sets.setdefault(self.done[name], []).append(name)
        lines = []
        for rows, names in sorted(sets.items(), reverse=True):
            pools = [
                f"{p}: layers {describe_layers(each)}" for p, each in hints.by_pool(names).items()
            ]
            lines.append("; ".join([f"{rows:,} of {self.rows:,} rows", *pools]))
        return lines

    def _rows_in(self, whole: NDArray[np.bool_]) -> int:
        starts = np.arange(len(whole)) * self.block_rows
        return int(np.clip(self.rows - starts, 0, self.block_rows)[whole].sum())

    @property
    def pools(self) -> list[str]:
        """The poolings that are stored."""
        return list(hints.by_pool(self.arrays))

    def layers(self, pool: str) -> list[Layer]:
        """The layers stored with this pooling, in order; `last` where it is not an alias."""
        return hints.by_pool(self.arrays).get(pool, [])

    def matrix(self, feature: Feature, verify: bool = False) -> Matrix:
        """The (N, D) vectors of a feature of this model; `verify` compares them with the ledger.

        Raises FeatureError if they were never asked for, IncompleteError if rows are missing,
        DamagedError if they are not those that were written.
        """
        layers = [self.array(name) for name in self._names(feature)]
        for name in self._names(feature) if verify else ():
            check_array(self.store, self.path, name, self.generations, self.block_rows)
        return layers[0] if len(layers) == 1 else MeanRows(layers)

    def origin(self, feature: Feature) -> Origin:
        """How a feature of this model is made again from a text; raises what `matrix` does."""
        names = self._names(feature)
        made, provenance = self.model_attrs, self.model_attrs.get("provenance") or {}
        return Origin(
            model=self.model,
            arrays=tuple(names),
            dtypes=tuple(str(self.array(name).stored) for name in names),
            source=made.get("source"),
            revision=provenance.get("revision"),
            remote_code=bool(provenance.get("remote_code")),
        )

    def complete(self, features: Iterable[Feature]) -> list[str]:
        """The arrays of features, which have all their rows; raises what `matrix` does."""
        for name in (names := [name for each in features for name in self._names(each)]):
            self._check_whole(name)
        return names

    def _names(self, feature: Feature) -> list[str]:
        return [self._name(feature, part) for part in feature.resolve(self.depth).parts]

    def tokens(self) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """(N,) tokens pooled of each row, 0 if it is still missing, and (N,) whether it was cut."""
        packed = np.zeros(self.rows, "<u4")
        if TOKENS in self.arrays:
            packed = read_rows(self.store, f"{self.path}/{TOKENS}", np.uint32, self.rows, True)
        return packed & ~CUT, (packed & CUT) != 0

    def resume_command(self, others: Iterable["Pages"] = ()) -> str:
        """The command that makes what is still missing; where nothing is, all of it again.

        `others` are splits of this model that lack the same.
        """
        return hints.spelled(self.resume_words(others))

    def resume_words(self, others: Iterable["Pages"] = ()) -> list[list[str]]:
        """The same as the words of each command it takes."""
        return again([self, *others], self.missing or self.asked)

    def __getitem__(self, pool: str) -> Layers:
        if pool not in self.pools:
            raise FeatureError(f"{self.path} has no pool '{pool}': it has {', '.join(self.pools)}")
        return Layers(self, pool)

    def __iter__(self) -> Iterator[str]:
        return iter(self.pools)

    def __len__(self) -> int:
        return len(self.pools)

    def __repr__(self) -> str:
        progress = "; ".join(self.progress(self.arrays)) or f"0 of {self.rows:,} rows"
        return f"<{self.path}: {progress}>"

    def _repr_html_(self) -> str:
        return html_table(self.path, [self.describe()])

    def _name(self, feature: Feature, layer: Layer) -> str:
        """The array of one layer; FeatureError with the command, if a command can add it."""
        name = array_name(self, feature, layer)
        if name in self.done:
            return name
        if self.spec.imported:
            raise FeatureError(
                f"{feature} is not among the vectors that were imported: {self!r}; "
                f"add it with: {self._add_import(name)}"
            )
        layers = [*range(self.depth + 1), "last"]
        if layer not in layers:
            raise FeatureError(
                f"no layer {layer} in {self.model}: it has {describe_layers(layers)}"
            )
        if name.startswith("own/"):
            others = ", ".join(each for each in POOLS if each != "own")
            raise FeatureError(
                f"{feature}: {self.model} has no pooled vector of its own here (where a model has "
                f"one, it is added with --layers last --pool own); any model has {others}"
            )
        raise FeatureError(
            f"{feature} is not in the cache: {self!r}; add it with: {self._add_command(name)}"
        )

    def _add_command(self, array: str) -> str:
        """The command that adds an array to all splits that this model was run on."""
        path = f"{self.corpus}/{self.model}"
        rows = {
            split: int(described(self.store, f"{path}/{split}")["rows"]) for split in self._splits
        }
        return hints.spelled(
            command
            for more in hints.split_flags(rows, hints.corpus_rows(self.store, self.corpus))
            for command in hints.command_again(self.store, self.corpus, self.model, [array], more)
        )

    def _add_import(self, array: str) -> str:
        """The command that imports an array of all splits that this model has."""
        paths = hints.files_wanted(self._splits, [array])
        return hints.spelled(hints.import_command(self.store, self.corpus, self.model, paths))

    @property
    def _splits(self) -> list[str]:
        here = self.store.children(f"{self.corpus}/{self.model}")
        return [split for split in SPLITS if split in here]

    def _check_whole(self, name: str) -> None:
        if (done := self.done[name]) < self.rows:
            raise IncompleteError(
                f"{self.path}/{name} has {done:,} of {self.rows:,} rows; finish it with: "
                f"{self.resume_command()}"
            )

    def array(self, name: str) -> Matrix:
        """The vectors of an array such as `mean/24`; raises what `matrix` does."""
        info, contents = self._known(name)
        width = info.shape[1] if len(info.shape) > 1 else 1
        return Rows(self.store.extents(f"{self.path}/{name}"), info.dtype, width, contents)

    def _known(self, name: str) -> tuple[ArrayInfo, str]:
        self._check_whole(name)
        return stored_as(self, name)

    def describe(self) -> dict[str, Any]:
        """One line of `lef ls`."""
        return one_line(self)
