"""Looks at HDF5 files: as they will be once a change is carried out, and at each node only once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lefcache.stores.hdf5_nodes import Node, node_at
from lefcache.stores.journal import Draft, journal_of, pending

if TYPE_CHECKING:
    import h5py

See = Callable[[Node], Any]
Look = Callable[[Path, str, See], Any]

MOST_HELD = 16  # files at once


def look(path: Path, node: str, see: See) -> Any:
    """What is seen of a node of a file; None where there is no such node."""
    with opened(path) as file:
        found = node_at(file, node)
        return None if found is None else see(Node(found))


@contextmanager
def opened(path: Path) -> Iterator["h5py.File"]:
    """A file to look at, as it will be once a change that was decided is carried out."""
    import h5py

    with numbered():
        if change := pending(path):
            with path.open("rb") as file, h5py.File(Draft(file, change), "r") as found:
                yield found
        else:
            with h5py.File(path, "r", locking=False) as found:
                yield found


class Held:
    """Looks that keep files open, and remember: opening one takes longer than most looks.

    It is opened afresh, and looked at once more, where anything of it has changed on the disk.
    """

    def __init__(self) -> None:
        self._files: dict[Path, _HeldFile] = {}

    def look(self, path: Path, node: str, see: See) -> Any:
        """What is seen of a node of a file; None where there is no such node."""
        state = (_stamp(path), _stamp(journal_of(path)))
        if path in self._files and self._files[path].state != state:
            self._files.pop(path).close()
        if path not in self._files:
            if len(self._files) == MOST_HELD:
                self._files.pop(next(iter(self._files))).close()
            self._files[path] = _HeldFile(path, state)
        try:
            return self._files[path].look(node, see)
        except BaseException:
            self._files.pop(path).close()  # what was read of a file in change is not seen again
            raise

    def close(self) -> None:
        """Keep nothing open."""
        for file in self._files.values():
            file.close()
        self._files.clear()


class _HeldFile:
    """A file that stays open, and the nodes of it that were looked at."""

    def __init__(self, path: Path, state: object) -> None:
        self.state = state
        self._open = ExitStack()
        self._file = self._open.enter_context(opened(path))
        self._nodes: dict[str, Node | None] = {}

    def look(self, node: str, see: See) -> Any:
        with numbered():
            if node not in self._nodes:
                found = node_at(self._file, node)
                self._nodes[node] = None if found is None else Node(found)
            known = self._nodes[node]
            return None if known is None else see(known)

    def close(self) -> None:
        self._nodes.clear()
        self._open.close()


@contextmanager
def numbered() -> Iterator[None]:
    """What is wrong with the content of a file is an OSError to HDF5, without a number."""
    try:
        yield
    except OSError as error:
        if error.errno:
            raise
        raise ValueError(str(error)) from error


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
