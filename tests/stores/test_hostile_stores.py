"""Stores of a stranger: nothing outside their folder is read or written, nothing absurd is made."""

import json
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.errors import DamagedError, LefError
from lefcache.files import replace_file
from lefcache.stores import hdf5_store, journal
from lefcache.stores.hdf5_store import Hdf5Store
from lefcache.stores.journal import Change
from lefcache.stores.mixed import MixedStore
from tests.hostile import CLIMBING, DEEP, NO_JSON, edits, few, flipped, only_our_errors


@pytest.fixture(autouse=True)
def _no_second_looks(monkeypatch):
    """A reader of HDF5 looks again for a while, in case a writer was at it: here there is none."""
    monkeypatch.setattr(hdf5_store, "LOOKS", 1)


def fill(store):
    """Ten rows of three below a split, with a ledger and attributes beside them."""
    store.set_attrs("", {"version": 1})
    for path, shape, dtype in (("s/mean/1", (10, 3), "<f4"), ("s/ledger/0", (3, 3), "<u4")):
        rows = 4 if len(path) == 8 else 1
        store.create(path, shape, dtype, rows, ("row", "feature"))
        for start in range(0, shape[0], rows):
            count = min(rows, shape[0] - start)
            store.write(path, start, np.arange(count * 3).reshape(count, 3).astype(dtype))
    store.set_attrs("s/ledger/0", {"arrays": ["mean/1"]})


@pytest.fixture(params=["zarr", "hdf5"])
def store(request, tmp_path):
    store = MixedStore(tmp_path / "cache")
    store.set_attrs("", {})
    if request.param == "hdf5":
        store.begin("s", "hdf5", {})
    fill(store)
    return store


def look(store, path):
    """Everything that reads a node."""
    for read in (store.children, store.attrs, store.seal, store.info, store.size):
        with only_our_errors():
            read(path)
    with only_our_errors():
        if store.info(path):
            for read in (store.extents, store.chunks, store.read):
                with only_our_errors():
                    read(path)
            with only_our_errors():
                store.read(path, sparse=True)


def change(store, path):
    """Everything that writes to a node."""
    for write in (
        lambda: store.set_attrs(path, {"x": 1}),
        lambda: store.write(path, 0, np.ones((1, 3), "<f4")),
        lambda: store.resize(path, 9),
        lambda: store.create(path, (4, 3), "<f4", 2, ("row", "feature")),
        lambda: store.sweep(path),
        lambda: store.delete(path),
    ):
        try:
            write()
        except (LefError, AssertionError):  # a node that is not there is no place to write to
            continue


@pytest.fixture
def outside(tmp_path):
    """A Zarr array, an HDF5 file and a text beside the cache, which nothing may touch."""
    folder = tmp_path / "outside"
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "thesis.partial").write_text("years of work")
    fill(MixedStore(folder / "zarr"))
    fill(Hdf5Store(folder / "file.h5"))
    return folder


@pytest.mark.parametrize("name", CLIMBING)
def test_names_that_lead_out_are_nowhere(store, outside, tree_bytes, name):
    before = tree_bytes(outside.parent)
    for path in (name, f"s/{name}", f"s/mean/{name}", f"{name}/s"):
        if path not in ("", "s/", "s/mean/1", "s/mean/"):
            assert (store.children(path), store.attrs(path), store.info(path)) == ([], {}, None)
            for act in (look, change):
                act(store, path)
    assert tree_bytes(outside.parent) == before


LINKS = ["s", "s/mean", "s/mean/1", "s/mean/1/c", "s/mean/1/c/0", "s/mean/1/c/0/0"]


@pytest.mark.parametrize("path", [*LINKS, "s/zarr.json", "s/mean/1/zarr.json", "zarr.json"])
@pytest.mark.parametrize("inside", [True, False])
def test_links_are_refused_and_nothing_behind_them_is_touched(
    tmp_path, outside, tree_bytes, path, inside
):
    store = MixedStore(tmp_path / "cache")
    fill(store)
    theirs = outside / "zarr" / path
    if inside:  # a link that stays in the cache is a link all the same
        theirs = tmp_path / "cache" / "t" / path.removeprefix("s/")
        shutil.copytree(tmp_path / "cache" / "s", tmp_path / "cache" / "t")
    ours = tmp_path / "cache" / path
    shutil.rmtree(ours) if ours.is_dir() else ours.unlink()
    ours.symlink_to(theirs)
    before = tree_bytes(outside)
    node = "" if path == "zarr.json" else path.removesuffix("/zarr.json").partition("/c")[0]
    with pytest.raises(DamagedError, match="is a link"):
        store.read(node) if "/c" in path else store.attrs(node)
    if "/c" in path:
        with pytest.raises(DamagedError, match="is a link"):
            store.extents(node)
    for below in (node, "s/mean/1", "s/ledger/0", "s"):
        look(store, below)
        change(store, below)
    assert tree_bytes(outside) == before


def test_a_link_to_a_home_is_neither_swept_nor_deleted(store, outside):
    (store.root / "t").symlink_to(outside / "home")
    (store.root / "s" / "own").mkdir(parents=True, exist_ok=True)
    (store.root / "s" / "own" / "x.partial").symlink_to(outside / "home")
    (store.root / ".s.partial").symlink_to(outside / "home")
    change(store, "t")
    store.sweep("s")
    store.delete("s")
    assert (outside / "home" / "thesis.partial").read_text() == "years of work"


@pytest.mark.parametrize("name", ["s.h5", "s.h5.journal"])
def test_links_and_pipes_in_the_place_of_a_file_are_refused(tmp_path, outside, tree_bytes, name):
    change_of_theirs = Change(10, ((0, b"theirs"),)).to_bytes()
    (outside / "journal").write_bytes(change_of_theirs)
    before = tree_bytes(outside)
    file = tmp_path / "cache" / name
    for make in (
        lambda: file.symlink_to(outside / ("journal" if "journal" in name else "file.h5")),
        lambda: os.mkfifo(file),
        lambda: file.symlink_to("/dev/zero"),
    ):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        store = MixedStore(tmp_path / "cache")
        store.set_attrs("", {})
        store.begin("s", "hdf5", {"rows": 1})
        file.unlink(missing_ok=True)
        make()
        with pytest.raises(DamagedError):
            store.attrs("s")
        change(store, "s")
        assert tree_bytes(outside) == before


def test_pipes_are_never_waited_for(tmp_path):
    store = MixedStore(tmp_path / "cache")
    fill(store)
    for path in ("s/mean/1/c/0/0", "s/mean/1/zarr.json", "s/zarr.json"):
        (store.root / path).unlink()
        os.mkfifo(store.root / path)
        look(store, "s/mean/1")
        look(store, "s")


# Metadata of Zarr

ABSURD = {
    "objects": {"data_type": "object"},
    "numpy's objects": {"data_type": "O"},
    "texts": {"data_type": "string"},
    "bytes without end": {"data_type": "V1000000000"},
    "a structure": {"data_type": [["a", "<f4"]]},
    "a type that is a document": {"data_type": {"name": "f4", "configuration": {}}},
    "rows without end": {"shape": [2**62, 3]},
    "more rows than numbers": {"shape": [2**63, 3]},
    "a width without end": {"shape": [10, 2**40]},
    "negative rows": {"shape": [-1, 3]},
    "rows that are true": {"shape": [True, 3]},
    "rows that are no number": {"shape": ["10", 3]},
    "no shape": {"shape": []},
    "a shape that is a number": {"shape": 10},
    "fewer axes": {"shape": [10]},
    "other axes": {"dimension_names": [{"x": 1}, None]},
    "compressed": {"codecs": [{"name": "bytes"}, {"name": "zstd"}]},
    "pickled": {"codecs": [{"name": "numcodecs.pickle"}]},
    "sharded": {"codecs": [{"name": "sharding_indexed", "configuration": {"chunk_shape": [1, 1]}}]},
    "transposed": {"codecs": [{"name": "transpose"}, {"name": "bytes"}]},
    "codecs of another kind": {"codecs": "bytes"},
    "names of chunks": {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "."}}},
    "names that climb": {
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../"}}
    },
    "columns": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 1]}}},
    "chunks of nothing": {
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 3]}}
    },
    "chunks without end": {
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**60, 3]}}
    },
    "another grid": {
        "chunk_grid": {"name": "rectangular", "configuration": {"chunk_shape": [4, 3]}}
    },
    "filled with ones": {"fill_value": 1},
    "filled with NaN": {"fill_value": "NaN"},
    "stored elsewhere": {"storage_transformers": [{"name": "reference", "configuration": {}}]},
    "another node": {"node_type": "link"},
    "bits of objects": {"attributes": {"bits_of": "object"}},
    "bits of what is wider": {"attributes": {"bits_of": "bfloat16"}},
    "attributes of another kind": {"attributes": [1]},
}


@pytest.mark.parametrize("name", ABSURD)
def test_arrays_that_cannot_be_are_refused_before_anything_is_made(tmp_path, monkeypatch, name):
    store = MixedStore(tmp_path / "cache")
    fill(store)
    file = tmp_path / "cache" / "s/mean/1/zarr.json"
    node = json.loads(file.read_text())
    node["attributes"] = {}
    file.write_text(json.dumps(node | ABSURD[name]))
    monkeypatch.setattr(np, "zeros", lambda *_: pytest.fail("allocated"))
    for read in (store.info, store.read, store.extents, store.chunks):
        with pytest.raises(DamagedError):
            read("s/mean/1")
    with pytest.raises(DamagedError):
        store.write("s/mean/1", 0, np.ones((4, 3), "<f4"))


def test_many_missing_chunks_are_found_at_the_first(tmp_path):
    store = MixedStore(tmp_path / "cache")
    fill(store)
    file = tmp_path / "cache" / "s/mean/1/zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shape": [2**23, 3]}))
    with pytest.raises(DamagedError, match="0 bytes where 48 were written"):
        store.read("s/mean/1")


@pytest.mark.parametrize("content", NO_JSON)
@pytest.mark.parametrize("path", ["", "s", "s/mean/1"])
def test_documents_that_are_none_are_damage(tmp_path, path, content):
    store = MixedStore(tmp_path / "cache")
    fill(store)
    (tmp_path / "cache" / path / "zarr.json").write_text(content)
    with pytest.raises(DamagedError):
        store.attrs(path)
    look(store, path)


def test_a_document_of_gigabytes_is_not_read(tmp_path):
    store = MixedStore(tmp_path / "cache")
    fill(store)
    with (tmp_path / "cache" / "s" / "zarr.json").open("ab") as file:
        file.truncate(8 << 30)  # holes: nothing is written
    with pytest.raises(DamagedError, match="larger than 64 MB"):
        store.attrs("s")


@given(st.data())
@few
def test_any_metadata_is_read_or_refused(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("fuzz") / "cache"
    store = MixedStore(root)
    path = data.draw(st.sampled_from(["", "s", "s/mean/1", "s/ledger/0"]))
    _template(root)
    file = root / path / "zarr.json"
    file.write_text(json.dumps(data.draw(edits(json.loads(file.read_text())))))
    for each in ("", "s", path):
        look(store, each)
    change(store, path)


_made = {}


def _template(root, name="zarr"):
    """A copy of a filled store: making one takes much longer."""
    if name not in _made:
        _made[name] = root.parent.parent / f"template-{name}"
        store = MixedStore(_made[name])
        if name == "hdf5":
            store.set_attrs("", {})
            store.begin("s", "hdf5", {})
        fill(store)
    shutil.copytree(_made[name], root)


# HDF5


def theirs(store):
    """The file of a split, to be written to as a stranger would."""
    return h5py.File(store.root / "s.h5", "r+")


@pytest.fixture
def in_file(tmp_path):
    store = MixedStore(tmp_path / "cache")
    store.set_attrs("", {})
    store.begin("s", "hdf5", {})
    fill(store)
    return store


@pytest.mark.parametrize("name", ["mean", "mean/1", "ledger/0"])
@pytest.mark.parametrize("kind", ["external", "soft", "dangling"])
def test_links_within_a_file_are_refused(in_file, outside, tree_bytes, name, kind):
    before = tree_bytes(outside)
    link = {
        "external": h5py.ExternalLink(str(outside / "file.h5"), f"/s/{name}"),
        "soft": h5py.SoftLink("/other"),
        "dangling": h5py.SoftLink("/nowhere"),
    }[kind]
    with theirs(in_file) as file:
        file.move(name, "other")
        file[name] = link
    with pytest.raises(DamagedError, match="is a link"):
        in_file.attrs(f"s/{name}")
    for path in (f"s/{name}", "s/mean/1", "s/mean/2", "s/ledger/0", "s"):
        look(in_file, path)
        change(in_file, path)
    assert tree_bytes(outside) == before


def _again(file):
    file["mean"]["mean"] = file["mean"]


def _external(file):
    file.create_dataset("mean/2", (4, 3), "<f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _virtual(file):
    layout = h5py.VirtualLayout((4, 3), "<f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 3))
    file.create_virtual_dataset("mean/2", layout)


HOSTILE_FILES = {
    "a group in itself": _again,
    "rows elsewhere": _external,
    "rows of other files": _virtual,
    "texts": lambda file: file.create_dataset(
        "mean/2", (4, 3), h5py.string_dtype(), chunks=(2, 3), maxshape=(None, 3)
    ),
    "references": lambda file: file.create_dataset("mean/2", (4,), h5py.ref_dtype, chunks=(2,)),
    "a structure": lambda file: file.create_dataset("mean/2", (4,), "<f4,<f4", chunks=(2,)),
    "columns": lambda file: file.create_dataset("mean/2", (4, 3), "<f4", chunks=(2, 1)),
    "rows without end": lambda file: file.create_dataset(
        "mean/2", (2**50, 3), "<f4", chunks=(1, 3), maxshape=(None, 3)
    ),
    "fewer chunks than it says": lambda file: file.create_dataset(
        "mean/2", (4000, 3), "<f4", chunks=(1, 3), maxshape=(None, 3)
    ),
    "a number": lambda file: file.create_dataset("mean/2", (), "<f4"),
    "nothing": lambda file: file.create_dataset("mean/2", data=h5py.Empty("<f4")),
    "a type": lambda file: file.__setitem__("mean/2", np.dtype("<f4")),
    "bits of objects": lambda file: file["mean/1"].attrs.__setitem__("bits_of", '"object"'),
    "attributes too deep": lambda file: file.attrs.__setitem__("x", DEEP),
    "a reference for an attribute": lambda file: file.attrs.__setitem__("x", file["mean"].ref),
    "bytes for an attribute": lambda file: file.attrs.__setitem__("x", np.void(b"\x00\xff")),
    "a seal of another kind": lambda file: file["mean"].attrs.__setitem__("seal", "[" * 9999),
    "names that climb": lambda file: file.create_group("..").create_group(".."),
    "names of escapes": lambda file: file.create_group("\x1b[2J"),
}


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_file_of_a_stranger_is_read_or_refused(in_file, outside, tree_bytes, name):
    before = tree_bytes(outside)
    with theirs(in_file) as file:
        HOSTILE_FILES[name](file)
    paths = ["", "s", "s/mean", "s/mean/1", "s/mean/2", "s/mean/mean/mean", "s/.."]
    for path in paths:
        look(in_file, path)
        change(in_file, path)
    assert tree_bytes(outside) == before


@pytest.mark.parametrize("name", ["rows elsewhere", "rows of other files", "texts", "references"])
def test_arrays_of_a_file_that_are_no_numbers_in_it_are_refused(in_file, name):
    with theirs(in_file) as file:
        HOSTILE_FILES[name](file)
    for read in (in_file.info, in_file.read, in_file.extents, in_file.chunks):
        with pytest.raises(DamagedError):
            read("s/mean/2")


def test_a_file_of_many_links_to_itself_is_walked_in_no_time(in_file):
    with theirs(in_file) as file:
        for number in range(50):
            file[f"again{number}"] = file["/"]
    assert in_file.size("s") > 0


# Journals


def held(store, change):
    """A journal beside the file, as a stranger would lay it there: with the right checksum."""
    file = store.root / "s.h5"
    replace_file(Path(f"{file}.journal"), change.to_bytes())
    return file


@pytest.mark.parametrize(
    "change",
    [
        Change(2**50),
        Change(2**63),
        Change(10, ((2**40, b"beyond"),)),
        Change(10, ((8, b"beyond"),)),
        Change(2**62, ((2**61, b"beyond"),)),
    ],
)
def test_a_journal_that_writes_beyond_its_file_is_refused(in_file, change):
    file = held(in_file, change)
    before = file.read_bytes()
    for act in (lambda: in_file.attrs("s"), lambda: in_file.sweep("s")):
        with pytest.raises(DamagedError, match="delete it"):
            act()
    assert file.read_bytes() == before


@given(st.data())
@few
def test_any_journal_is_carried_out_or_refused(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("fuzz") / "cache"
    _template(root, "hdf5")
    file = root / "s.h5"
    size = file.stat().st_size
    numbers = st.integers(0, 2**64 - 1) | st.integers(0, 2 * size)
    body = np.array(data.draw(st.lists(numbers, max_size=8)), "<u8").tobytes()
    body += data.draw(st.binary(max_size=40))
    Path(f"{file}.journal").write_bytes(journal._head(body) + body)
    store = MixedStore(root)
    for path in ("s", "s/mean/1"):
        look(store, path)
    with only_our_errors():
        store.sweep("s")
    assert file.stat().st_size <= size
    assert {each.name for each in root.iterdir()} <= {"zarr.json", "s.h5", "s.h5.journal"}


@given(st.data())
@few
def test_any_bytes_of_an_hdf5_file_are_read_or_refused(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("fuzz") / "cache"
    _template(root, "hdf5")
    file = root / "s.h5"
    file.write_bytes(data.draw(flipped(file.read_bytes()[:4096])) + file.read_bytes()[4096:])
    store = MixedStore(root)
    for path in ("s", "s/mean", "s/mean/1", "s/ledger/0"):
        look(store, path)
