"""A cache on an object store, whose vectors are read from a mirror of it on this disk.

The mirror is a cache like any: what is asked for is taken over into it, each block held against its
checksum, and mapped there. Nothing is pulled twice, and what has changed is pulled anew.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.cache.adopt import adopt, wanting
from lefcache.cache.corpora import corpus_of
from lefcache.cache.ledger import Generation, withdraw
from lefcache.cache.lock import exclusive
from lefcache.cache.pages import TOKENS, Pages
from lefcache.cache.register import register
from lefcache.cache.remove import doomed, remove
from lefcache.cache.tree import Cache
from lefcache.corpus import split_name
from lefcache.dtypes import BFLOAT16
from lefcache.errors import MismatchError
from lefcache.feature import Feature
from lefcache.files import REMOTE, Url, path_of, replace_file
from lefcache.rows import Matrix, Rows, Table
from lefcache.stores import ArrayInfo
from lefcache.stores.objects import at_once, bucket_at
from lefcache.stores.remote_store import RemoteStore

WAIT = 24 * 3600.0  # for another process that pulls the same split

# Told of a split, how many vectors of it are on their way, and how many have come since the last
# time; the first time none has.
OnPull = Callable[[str, int, int], None]


class RemoteCache(Cache):
    """Every layer's vectors below an address such as s3://bucket/run1.

    They are pulled when they are asked for, with `later` when the first of them is read.
    """

    def __init__(self, path: Url, whole: bool = True, later: bool = False) -> None:
        super().__init__(path, RemoteStore(path), whole)
        self.later = later
        self.mirror = Cache(mirror_of(path))
        self.on_pull: OnPull | None = None

    @property
    def results(self) -> Path:
        """Where finished studies are kept on this disk; `sharing_results` has the others."""
        return self.mirror.results

    def rows(
        self,
        feature: str | Feature,
        split: str = "train",
        data: str | None = None,
        verify: bool = False,
    ) -> Matrix:
        """The (N, D) vectors of one feature, in the mirror; raises what `Cache.rows` does."""
        if self.later and not verify:
            return super().rows(feature, split, data)
        wanted = Feature.parse(feature) if isinstance(feature, str) else feature
        pages = super().pages(wanted.model, split, data)
        self.bring(pages, pages.complete([wanted]))
        return self.mirror.rows(wanted, pages.split, pages.corpus, verify)

    def table(
        self,
        features: str | Iterable[str | Feature],
        split: str = "train",
        data: str | None = None,
        verify: bool = False,
    ) -> Table:
        """K aligned features, in the mirror; raises what `Cache.table` does."""
        if self.later and not verify:
            return super().table(features, split, data)
        corpus, split = self.corpus(data), split_name(split)
        chosen = self.features(features, data)
        for model in dict.fromkeys(each.model for each in chosen):
            pages = super().pages(model, split, corpus)
            self.bring(pages, pages.complete(each for each in chosen if each.model == model))
        return self.mirror.table(chosen, split, corpus, verify)

    def pages(self, model: str, split: str = "train", data: str | None = None) -> Pages:
        """What one model left of one split; its vectors are pulled when they are asked for."""
        return RemotePages(self, super().pages(model, split, data))

    def bring(self, pages: Pages, arrays: Sequence[str]) -> int:
        """Pull arrays of a split that the mirror lacks; returns how many vectors that was.

        Raises DamagedError for rows that are not those that were written.
        """
        name = pages.path.replace("/", "+")
        with exclusive(self.mirror.path, f"pull+{name}", wait=WAIT):
            try:
                return self._take(pages, arrays)
            except MismatchError:  # other texts or settings than those that the mirror is of
                _forget(self.mirror, pages.corpus)
                return self._take(pages, arrays)

    def brought(self, pages: Pages, array: str) -> Matrix:
        """An array of a split in the mirror, pulled if it has to be."""
        self.bring(pages, [array])
        return self.mirror.pages(pages.model, pages.split, pages.corpus).array(array)

    def _take(self, pages: Pages, arrays: Sequence[str]) -> int:
        store = self.mirror.store
        together = _brought_up_to_date(self.mirror, pages, arrays)
        register(store, corpus_of(pages.store, pages.corpus))
        lacking = wanting(store, pages, together, pages.path)
        total = sum(lacking.values())
        if total and self.on_pull:
            self.on_pull(pages.path, total, 0)

        def tell(rows: int) -> None:
            if self.on_pull:
                self.on_pull(pages.path, total, rows)

        adopt(store, pages, lacking, pages.path, str(self.path), tell)
        return total

    @contextmanager
    def sharing_results(self) -> Iterator[None]:
        """Bring the finished studies of others first, and let them have those of this process."""
        bucket, folder = bucket_at(Url(self.path)), self.results
        here, there = _files(folder), set(bucket.lengths("results"))

        def bring(name: str) -> None:
            file = folder.parent / name
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, bucket.get(name) or b"")

        # Predictions first: a result is done when its JSON file is there.
        at_once(bring, sorted(there - here, key=_json_last))
        yield
        for name in sorted(_files(folder) - there, key=_json_last):
            bucket.put(name, (folder.parent / name).read_bytes())


class RemotePages(Pages):
    """The pages of a split on an object store, whose matrices lie in the mirror."""

    def __init__(self, cache: RemoteCache, pages: Pages) -> None:
        vars(self).update(vars(pages))
        self.cache = cache

    def matrix(self, feature: Feature, verify: bool = False) -> Matrix:
        """The (N, D) vectors of a feature of this model; raises what `Pages.matrix` does."""
        if self.cache.later and not verify:
            return super().matrix(feature)
        return self.cache.rows(feature, self.split, self.corpus, verify)

    def array(self, name: str) -> Matrix:
        """The vectors of an array, which are pulled when they are read."""
        return Later(*self._known(name), lambda: self.cache.brought(self, name))


class Later(Matrix):
    """Vectors on an object store, which are pulled when the first of them is read."""

    def __init__(self, info: ArrayInfo, contents: str, bring: Callable[[], Matrix]) -> None:
        self.stored = info.dtype
        self.dtype = np.dtype(np.float32) if info.dtype.name == BFLOAT16 else info.dtype
        self.shape = info.shape[0], info.shape[1]
        self.contents = contents
        self._bring = cache(bring)

    @property
    def bits(self) -> Rows | None:
        """As of `Rows`."""
        return getattr(self._bring(), "bits", None)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self._bring()[start:stop]

    def _gather(self, chosen: NDArray[np.intp]) -> NDArray[Any]:
        return self._bring()[chosen]


def mirror_of(url: Url) -> Path:
    """The folder for what is pulled from an address: below $LEF_MIRROR, or the user's own cache.

    Two servers may have buckets of one name, so the endpoint is part of its name.
    """
    given = os.environ.get("LEF_MIRROR")
    above = path_of(given) if given else _user_caches() / "lefcache" / "mirror"
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    told = hashlib.sha256(f"{endpoint} {url}".encode()).hexdigest()[:8]
    plain = "".join(each if each.isalnum() or each in "._-" else "+" for each in url[len(REMOTE) :])
    return above / f"s3+{plain[:100]}+{told}"


def _user_caches() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _brought_up_to_date(mirror: Cache, there: Pages, arrays: Sequence[str]) -> list[str]:
    """Take out of the mirror what is no longer true of arrays of a split.

    That is each block which is another one there now or, where they were made anew in another way,
    all of the model. Returns the arrays, with those that share a ledger with them in the mirror:
    they were pulled together, and lack what they lack together.
    """
    here = Pages(mirror.store, there.corpus, there.model, there.split)
    if not here.attrs:
        return [*arrays]
    shared = [each for each in here.generations if {*each.arrays} & {*arrays}]
    names = [name for each in shared for name in each.arrays if name != TOKENS]
    if _made_anew(here, there, names):
        _forget(mirror, f"{there.corpus}/{there.model}")
        return [*arrays]
    for generation in shared:
        for block in sorted(_changed(generation, there)):
            withdraw(mirror.store, here.path, generation.number, block)
    return list(dict.fromkeys([*arrays, *names]))


def _made_anew(here: Pages, there: Pages, names: Sequence[str]) -> bool:
    """Whether a split there can no longer be the one of which these arrays were pulled."""
    if here.rows > there.rows or here.block_rows != there.block_rows:
        return True
    if here.spec.difference(there.spec):
        return True
    infos = [(each.store.info(f"{each.path}/{name}") for each in (here, there)) for name in names]
    return any(
        ours is None or theirs is None or ours.dtype != theirs.dtype for ours, theirs in infos
    )


def _changed(generation: Generation, there: Pages) -> set[int]:
    """The blocks of arrays in the mirror that are not, or no longer, those on the object store."""
    changed: set[int] = set()
    for name in generation.arrays:
        if name != TOKENS:
            known = {(start // there.block_rows, *rest) for start, *rest in there.checksums(name)}
            changed |= {block for block, *_ in {*generation.checksums(name)} - known}
    return changed


def _forget(mirror: Cache, key: str) -> None:
    """Take what is no longer true out of the mirror."""
    if mirror.store.attrs(key):
        remove(mirror.store, doomed(mirror, key))


def _files(folder: Path) -> set[str]:
    files = (each for each in folder.glob("*/*") if each.suffix in (".json", ".npy"))
    return {each.relative_to(folder.parent).as_posix() for each in files}


def _json_last(name: str) -> tuple[bool, str]:
    return name.endswith(".json"), name
