"""Looks at an HDF5 file: as it will be once a change is carried out, and at its nodes once only."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lefcache.stores.hdf5_nodes import node_at
from lefcache.stores.journal import Draft, journal_of, pending

if TYPE_CHECKING:
    import h5py

See = Callable[[Any], Any]
Look = Callable[[Path, str, See], Any]


def look(path: Path, node: str, see: See) -> Any:
    """What is seen of a node of a file; None where there is no such node."""
    with opened(path) as file:
        return _seen(node_at(file, node), see)


@contextmanager
def opened(path: Path) -> Iterator["h5py.File"]:
    """A file to look at, as it will be once a change that was decided is carried out."""
    import h5py

    with _numbered():
        if change := pending(path):
            with path.open("rb") as file, h5py.File(Draft(file, change), "r") as found:
                yield found
        else:
            with h5py.File(path, "r", locking=False) as found:
                yield found


class Held:
    """Looks that keep the last file open, and remember: opening it takes longer than most looks.

    It is opened afresh, and looked at once more, where anything of it has changed on the disk.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._file: h5py.File | None = None
        self._state: object = None
        self._nodes: dict[str, Any] = {}
        self._seen: dict[tuple[str, See], Any] = {}

    def look(self, path: Path, node: str, see: See) -> Any:
        """What is seen of a node of a file; None where there is no such node."""
        state = (path, _stamp(path), _stamp(journal_of(path)))
        if self._file is None or state != self._state:
            self.close()
            self._file, self._state = self._open.enter_context(opened(path)), state
        try:
            with _numbered():
                if (node, see) not in self._seen:
                    if node not in self._nodes:
                        self._nodes[node] = node_at(self._file, node)
                    self._seen[node, see] = _seen(self._nodes[node], see)
        except BaseException:
            self.close()  # what was read of a file in change must not be seen again
            raise
        return self._seen[node, see]

    def close(self) -> None:
        """Keep nothing open."""
        self._nodes.clear()
        self._seen.clear()
        self._open.close()
        self._file = None


def _seen(node: Any, see: See) -> Any:
    return None if node is None else see(node)


@contextmanager
def _numbered() -> Iterator[None]:
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
