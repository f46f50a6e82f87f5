"""The pages of one model over one split: which arrays there are, and which blocks are whole."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.hints import corpus_flags, extract_command, spec_flags
from lefcache.cache.ledger import finished
from lefcache.errors import DamagedError, FeatureError, IncompleteError
from lefcache.feature import Feature, Layer, describe_layers
from lefcache.rows import Matrix, MeanRows, Rows
from lefcache.spec import Spec
from lefcache.stores import Store

TOKENS = "tokens"  # (N,) uint32: how many tokens were pooled
CUT = np.uint32(1 << 31)  # its high bit: the text was longer than the model may read


@dataclass(frozen=True)
class Generation:
    """Arrays that were asked for together, and the ledger (blocks, 2 + A) of their blocks."""

    number: int
    arrays: tuple[str, ...]
    ledger: NDArray[np.uint32]


class Pages(Mapping[str, Mapping[str, Matrix]]):
    """What one model left of one split: `pages["mean"]["24"]` is an (N, D) matrix on disk."""

    def __init__(self, store: Store, corpus: str, model: str, split: str) -> None:
        self.store, self.corpus, self.model, self.split = store, corpus, model, split
        self.path = f"{corpus}/{model}/{split}"
        self.attrs = store.attrs(self.path)
        self.model_attrs = store.attrs(f"{corpus}/{model}")

    @property
    def rows(self) -> int:
        """How many rows of the split were asked for."""
        return int(self.attrs["rows"])

    @property
    def block_rows(self) -> int:
        """Rows in a block, the unit of work and of commit."""
        return int(self.attrs["block_rows"])

    @property
    def depth(self) -> int:
        """The number of blocks n of the model."""
        return int(self.model_attrs["depth"])

    @property
    def aliases(self) -> dict[str, Layer]:
        """Layers that are another one's second name: no norm follows BERT's last block."""
        return dict(self.attrs.get("aliases", {}))

    @cached_property
    def spec(self) -> Spec:
        """What the numbers were made with."""
        return Spec.from_json(self.model_attrs["spec"])

    @cached_property
    def generations(self) -> list[Generation]:
        """The sets of arrays, in the order in which they were added."""
        found = []
        names = filter(str.isdecimal, self.store.children(f"{self.path}/ledger"))
        for name in sorted(names, key=int):
            path = f"{self.path}/ledger/{name}"
            arrays = tuple(self.store.attrs(path).get("arrays", ()))
            ledger = self.store.read(path)
            if not arrays:  # killed between creating the ledger and naming its arrays
                continue
            if ledger.dtype != np.uint32 or ledger.ndim != 2 or ledger.shape[1] != 2 + len(arrays):
                raise DamagedError(f"{path}: not the ledger of {len(arrays)} arrays")
            found.append(Generation(int(name), arrays, ledger))
        return found

    @property
    def asked(self) -> list[str]:
        """Names such as `mean/24` of the arrays that were asked for, `tokens` among them."""
        return list(self.attrs["arrays"])

    @property
    def arrays(self) -> list[str]:
        """Those of them that exist; how far they are, the ledgers say."""
        return [array for generation in self.generations for array in generation.arrays]

    def finished(self, generation: Generation) -> NDArray[np.bool_]:
        """(blocks,) which blocks of these arrays are whole."""
        return finished(generation.ledger, self.rows, self.block_rows)

    @property
    def done_rows(self) -> int:
        """Rows that every array has."""
        if not self.generations or set(self.asked) - set(self.arrays):
            return 0  # an extraction that was stopped within its first block
        done = [self.finished(generation) for generation in self.generations]
        whole = np.logical_and.reduce(done)
        starts = np.arange(len(whole)) * self.block_rows
        return int(np.clip(self.rows - starts, 0, self.block_rows)[whole].sum())

    @property
    def pools(self) -> list[str]:
        """The poolings that are stored."""
        return list(dict.fromkeys(name.partition("/")[0] for name in self.arrays if "/" in name))

    def layers(self, pool: str) -> list[Layer]:
        """The layers stored with this pooling, in order; `last` where it is not an alias."""
        names = [name.partition("/") for name in self.arrays]
        layers = {layer for kind, _, layer in names if kind == pool and layer}
        numbers = sorted(int(layer) for layer in layers - {"last"})
        return [*numbers, *(["last"] if "last" in layers else [])]

    def matrix(self, feature: Feature) -> Matrix:
        """The (N, D) vectors of a feature of this model.

        Raises FeatureError if they were never asked for, IncompleteError if rows are missing.
        """
        feature = feature.resolve(self.depth)
        layers = [self._array(self._name(feature, part)) for part in feature.parts]
        return layers[0] if len(layers) == 1 else MeanRows(layers)

    def tokens(self) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
        """(N,) tokens pooled of each row, 0 if it is still missing, and (N,) whether it was cut."""
        packed = self.store.read(f"{self.path}/{TOKENS}")
        return packed & ~CUT, (packed & CUT) != 0

    def resume_command(self) -> str:
        """The command that computes what is still missing."""
        corpus = self.store.attrs(self.corpus)
        more = ["--splits", self.split, *corpus_flags(corpus), *spec_flags(self.spec)]
        if self.rows < corpus["splits"][self.split]:
            more += ["--limit", str(self.rows)]
        named = [name.partition("/") for name in self.asked if name != TOKENS]
        layers = sorted({int(layer) for _, _, layer in named if layer != "last"})
        last = ["last"] if any(layer == "last" for _, _, layer in named) else []
        pools = dict.fromkeys(pool for pool, _, _ in named)
        return extract_command(
            self.store.root, corpus["source"], self._source(), [*layers, *last], pools, more
        )

    def __getitem__(self, pool: str) -> Mapping[str, Matrix]:
        if pool not in self.pools:
            raise FeatureError(f"{self.path} has no pool '{pool}': it has {', '.join(self.pools)}")
        layers = [str(layer) for layer in self.layers(pool)]
        return {layer: self._array(f"{pool}/{layer}") for layer in layers}

    def __iter__(self) -> Iterator[str]:
        return iter(self.pools)

    def __len__(self) -> int:
        return len(self.pools)

    def __repr__(self) -> str:
        pools = "; ".join(f"{pool}: layers {describe_layers(self.layers(pool))}" for pool in self)
        return f"<{self.path}: {self.done_rows:,} of {self.rows:,} rows; {pools}>"

    def _name(self, feature: Feature, layer: Layer) -> str:
        pool = feature.pool or ("own" if "last" in self.layers("own") else "mean")
        stored = self.aliases.get(str(layer), layer)
        name = f"{pool}/{stored}"
        if name not in self.arrays:
            wanted = extract_command(
                self.store.root,
                self.store.attrs(self.corpus).get("source", self.corpus),
                self._source(),
                [layer],
                [pool],
                [*corpus_flags(self.store.attrs(self.corpus)), *spec_flags(self.spec)],
            )
            raise FeatureError(
                f"{feature} is not in the cache: {self!r}; of its {self.depth} blocks, add layer "
                f"{layer} with: {wanted}"
            )
        return name

    def _array(self, name: str) -> Rows:
        generation = next(each for each in self.generations if name in each.arrays)
        if not self.finished(generation).all():
            raise IncompleteError(
                f"{self.path} has {self.done_rows:,} of {self.rows:,} rows; finish it with: "
                f"{self.resume_command()}"
            )
        info = self.store.info(f"{self.path}/{name}")
        if info is None or info.shape[0] != self.rows:
            raise DamagedError(f"{self.path}/{name} is not the array that the ledger speaks of")
        width = info.shape[1] if len(info.shape) > 1 else 1
        return Rows(self.store.extents(f"{self.path}/{name}"), info.dtype, width)

    def _source(self) -> str:
        source: str | None = self.model_attrs.get("source")
        return f"{self.model}={source}" if source and source != self.model else self.model

    def describe(self) -> dict[str, Any]:
        """One line of `lef ls`."""
        arrays = [name for name in self.arrays if "/" in name]
        infos = [self.store.info(f"{self.path}/{name}") for name in arrays]
        dtypes = sorted({str(info.dtype) for info in infos if info})
        layers = dict.fromkeys(layer for pool in self.pools for layer in self.layers(pool))
        folder = self.store.root / self.path
        return {
            "corpus": self.corpus,
            "model": self.model,
            "split": self.split,
            "layers": list(layers),
            "pools": self.pools,
            "rows": self.rows,
            "done_rows": self.done_rows,
            "width": int(self.model_attrs["width"]),
            "dtype": "/".join(dtypes),
            "bytes": sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        }
