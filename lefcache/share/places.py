"""Which files of a repository are those of a cache: a stranger's list may name anything."""

import re
from collections.abc import Iterator
from functools import cached_property

from lefcache.corpus import SPLITS
from lefcache.errors import DamagedError, FeatureError, StorageError
from lefcache.feature import NAME, POOLS, RESERVED
from lefcache.share.hub import RemoteFile, Snapshot
from lefcache.stores import ArrayInfo
from lefcache.wording import did_you_mean, shown

METADATA = "zarr.json"
MOST_METADATA = 16 << 20  # bytes of one file of metadata, of which a chunk of a ledger is one

_NUMBER = "(?:0|[1-9][0-9]{0,8})"
_SPLIT = f"(?:{'|'.join(SPLITS)})"
_NAMED = f"(?!(?:{'|'.join(RESERVED)})(?:/|$))(?:{NAME.pattern})"
_ARRAY = (
    rf"tokens|(?:ledger|magnitudes)(?:/{_NUMBER})?|(?:{'|'.join(POOLS)})(?:/(?:last|{_NUMBER}))?"
)
_BELOW = rf"(?:labels|rows)(?:/{_SPLIT})?|{_NAMED}(?:/{_SPLIT}(?:/(?:{_ARRAY}))?)?"
_NODE = re.compile(rf"{_NAMED}(?:/(?:{_BELOW}))?")
_FILE = re.compile(rf"(?:(?P<node>.+)/)?(?:{METADATA}|c/{_NUMBER}(?:/0)?)")
_CLIMBS = re.compile(r"^[/~]|^[A-Za-z]:|\\|[\x00-\x1f\x7f]|(?:^|/)\.{0,2}(?:/|$)")


def node_of(path: str) -> str | None:
    """The group or array that a file is one of; "" is the root, None what is no cache's file."""
    match = _FILE.fullmatch(path)
    if match is None or (match["node"] is None and path != METADATA):
        return None
    node = match["node"] or ""
    return node if not node or _NODE.fullmatch(node) else None


class Listing:
    """The groups and arrays that a snapshot lists, each with its files.

    Files that are none of a cache's are passed over; a name that would be written outside of the
    folder it is downloaded into is StorageError.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.nodes: dict[str, dict[str, RemoteFile]] = {}
        for path, file in snapshot.files.items():
            if _CLIMBS.search(path):
                raise StorageError(
                    f"{snapshot.place} lists the file {shown(repr(path), 200)}, which no cache "
                    "can have: do not use it, and tell its owner"
                )
            if (node := node_of(path)) is not None:
                self.nodes.setdefault(node, {})[path] = file

    @cached_property
    def splits(self) -> list[str]:
        """The splits, such as `sst2/mistral/train`, in the order of the tree."""
        order = list(SPLITS)
        parts = [
            node.split("/") for node, files in self.nodes.items() if f"{node}/{METADATA}" in files
        ]
        found = [each for each in parts if len(each) == 3 and each[1] not in RESERVED]
        found.sort(key=lambda each: (each[0], each[1], order.index(each[2])))
        return ["/".join(each) for each in found]

    def below(self, key: str) -> list[str]:
        """The splits at or below a corpus, model or split; of all for an empty key."""
        found = [path for path in self.splits if not key or f"{path}/".startswith(f"{key}/")]
        if not found:
            place = self.snapshot.place
            if not self.splits:
                raise FeatureError(f"{place} holds no vectors: it is no cache that `lef push` made")
            near = did_you_mean(key, self.splits)
            raise FeatureError(f"{place} has no {key}{near}: it has {', '.join(self.splits)}")
        return found

    def children(self, node: str) -> Iterator[str]:
        """The nodes below a node, at any depth."""
        return (each for each in self.nodes if each.startswith(f"{node}/"))

    def vectors(self) -> Iterator[str]:
        """The files that are no metadata, labels or hashes of texts."""
        for node, files in self.nodes.items():
            parts = node.split("/")
            if len(parts) > 3 and parts[3] not in ("ledger", "magnitudes"):
                yield from (name for name in files if not name.endswith(METADATA))

    def metadata(self, splits: list[str]) -> list[str]:
        """The files that say what some splits are: small, and all that a first look needs."""
        wanted = {""}
        for path in splits:
            corpus, model, _ = path.split("/")
            wanted |= {corpus, f"{corpus}/{model}", path, *self.children(path)}
            for beside in ("labels", "rows"):
                wanted |= {f"{corpus}/{beside}", *self.children(f"{corpus}/{beside}")}
        files = []
        for node in sorted(wanted):
            whole = "/ledger/" in node
            for name, file in self.nodes.get(node, {}).items():
                if whole or name.endswith(METADATA):
                    self._check_size(name, file.size, MOST_METADATA)
                    files.append(name)
        return files

    def chunks(self, node: str, info: ArrayInfo) -> list[str]:
        """The files with the rows of an array; DamagedError unless they are what its size asks."""
        below, size = "/0" * (len(info.shape) - 1), info.chunk_bytes
        wanted = []
        for number in range(info.chunks):
            name = f"{node}/c/{number}{below}"
            file = self.snapshot.files.get(name)
            if file is None or file.size != size:
                there = "not there" if file is None else f"{file.size:,} bytes long"
                raise DamagedError(
                    f"{self.snapshot.place}: {name} is {there}, where {size:,} bytes belong: its "
                    "owner has to push it again"
                )
            wanted.append(name)
        return wanted

    def _check_size(self, name: str, size: int, most: int) -> None:
        if size > most:
            raise StorageError(
                f"{self.snapshot.place}: {name} is {size:,} bytes long, and metadata is never "
                f"longer than {most:,}: do not use it"
            )
