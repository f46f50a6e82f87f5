"""What is settled when a split is begun and binds all who add to it: format, blocks, chunks."""

from typing import TYPE_CHECKING, Any

from lefcache.cache.documents import described
from lefcache.cache.lock import many_processes
from lefcache.errors import MismatchError
from lefcache.spec import SPEC_DIGEST
from lefcache.stores import Home

if TYPE_CHECKING:
    from lefcache.cache.request import Request

CHUNK_BYTES = 8 << 20
CHUNK_ROWS_LEAST = 64


def begin_split(store: Home, path: str, request: "Request") -> None:
    """Write down how a split is cut, or that it has more rows than before."""
    attrs, kept = described(store, path), store.format_of(path)
    wanted = request.format or kept
    if wanted == "hdf5":
        _check_alone(path, kept, request.writers or many_processes())
    made_by = {SPEC_DIGEST: request.spec.digest}
    if not attrs or not store.children(f"{path}/ledger"):
        first = first_attrs(request) | made_by
        if wanted != kept:
            store.begin(path, wanted, first)
        else:
            store.set_attrs(path, first)
        return
    if wanted != kept:
        raise MismatchError(
            f"{path} is kept as {kept}: leave out --format {wanted}, or first run: "
            f"lef convert {path} --to {wanted}"
        )
    now = made_by | attrs | {"rows": max(attrs["rows"], request.rows)}
    if now != attrs:
        store.set_attrs(path, now)


def _check_alone(path: str, kept: str, many: str) -> None:
    """Refuse HDF5 where several processes are at work: two writers would lose rows in silence."""
    if many:
        convert = f"lef convert {path} --to"
        way = f"first run: {convert} zarr"
        if kept == "zarr":
            way = f"extract with --format zarr, and have one file afterwards with: {convert} hdf5"
        raise MismatchError(f"{path}: {many}, and an HDF5 file can have one writer only: {way}")


def first_attrs(request: "Request") -> dict[str, Any]:
    """What is written down of a split before it has a single array: how it is cut."""
    item = 4 if request.store_dtype == "float32" else 2
    # A limit may be raised to all the rows that the split has, and these are then to lie in few
    # files.
    rows = max(request.rows, request.split_rows)
    return {
        "rows": request.rows,
        "block_rows": request.block_rows,
        "chunk_rows": chunk_rows(rows, request.width, item, request.block_rows),
        "batch_tokens": request.batch_tokens,
        "arrays": [],
        "aliases": dict(request.aliases or {}),
    }


def chunk_rows(rows: int, width: int, item: int, block_rows: int) -> int:
    """Rows of a chunk: chunks are stored whole, so a small split has small ones."""
    most = min(block_rows, CHUNK_BYTES // (width * item))
    chunk = CHUNK_ROWS_LEAST
    while chunk < rows and chunk * 2 <= most:
        chunk *= 2
    return min(chunk, block_rows)
