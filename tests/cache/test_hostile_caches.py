"""Caches of a stranger: whatever their metadata says, only a LefError comes out, and nothing else
is read or written than what lies in their folder."""

import json
import os
import shutil
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lefcache.cache import open as open_cache
from lefcache.cache.lock import exclusive
from lefcache.cache.remove import doomed, remove
from lefcache.corpus import Corpus, Split
from lefcache.errors import DamagedError, LefError
from lefcache.extract import extract
from lefcache.repair import clear
from lefcache.spec import Spec
from lefcache.stores import hdf5_store
from lefcache.testing import FakeBackbone
from lefcache.verify import verify
from tests.hostile import CLIMBING, edited, edits, few, only_our_errors, set_spec

SETTINGS = {"block_rows": 4, "batch_tokens": 16, "fsync": False}
CORPUS = Corpus(
    "tiny",
    ("no", "yes"),
    {
        "train": Split([f"text {n}" for n in range(9)], np.arange(9, dtype=np.int32) % 2),
        "test": Split(["one", "two", "three"], np.array([0, 1, -1], np.int32)),
    },
    "demo",
)
NODES = ["tiny", "tiny/fake", "tiny/fake/train", "tiny/fake/train/ledger/0"]


@pytest.fixture(autouse=True)
def _no_second_looks(monkeypatch):
    monkeypatch.setattr(hdf5_store, "LOOKS", 1)


@pytest.fixture(scope="session")
def templates(tmp_path_factory):
    """A finished cache in each format, and one that was stopped after its first block."""
    made = {}
    for format in ("zarr", "hdf5", "stopped"):
        made[format] = tmp_path_factory.mktemp("templates") / format
        cache, files = open_cache(made[format]), format.replace("stopped", "zarr")
        extract(FakeBackbone(depth=2), CORPUS, cache, pools=["mean"], format=files, **SETTINGS)
        if format == "stopped":
            ledger = "tiny/fake/train/ledger/0"
            blocks, columns = cache.store.info(ledger).shape
            cache.store.write(ledger, 1, np.zeros((blocks - 1, columns), np.uint32))
    return made


def look(folder):
    """Everything that reads a cache."""
    cache = open_cache(folder)
    for read in (
        lambda: (repr(cache), cache._repr_html_()),
        cache.ls,
        lambda: [cache.rows(each)[:] for each in ("fake:1", "fake:-1", "fake:0~2", "fake:last")],
        lambda: cache.rows("fake:1", verify=True),
        lambda: cache.table("fake"),
        lambda: cache.tables("fake:0..2"),
        lambda: cache.unextracted("fake"),
        lambda: cache.features("fake:all@mean,fake:last"),
        lambda: cache.rows("fake:2@max"),
        lambda: cache.pages("fake", "validation"),
        lambda: cache.pages("other"),
        lambda: [each.resume_command() for each in cache["tiny"]["fake"].values()],
        lambda: [each.tokens() for each in cache["tiny"]["fake"].values()],
        lambda: [each.magnitudes() for each in cache["tiny"]["fake"].values()],
        lambda: verify(cache),
        lambda: verify(cache, "tiny/fake/train"),
        lambda: doomed(cache, "tiny/fake:1"),
        lambda: doomed(cache, "tiny/fake/train"),
        lambda: cache["tiny"]["fake"]["train"]["mean"][1],
    ):
        with only_our_errors():
            read()


def change(folder):
    """Everything that writes to a cache."""
    cache = open_cache(folder)
    for write in (
        lambda: cache.register(CORPUS),
        lambda: extract(FakeBackbone(depth=2), CORPUS, cache, pools=["mean", "max"], **SETTINGS),
        lambda: clear(cache, verify(cache)),
        lambda: remove(cache.store, doomed(cache, "tiny/fake:1")),
        lambda: cache.convert("tiny/fake/train", "hdf5"),
        lambda: cache.convert("tiny/fake/train", "zarr"),
        lambda: remove(cache.store, doomed(cache, "tiny/fake")),
    ):
        with only_our_errors():
            write()


@given(st.data())
@settings(few, max_examples=15)
def test_any_attributes_are_read_or_refused(templates, tmp_path_factory, data):
    root = tmp_path_factory.mktemp("fuzz")
    format = data.draw(st.sampled_from(["zarr", "zarr", "stopped", "hdf5"]))
    folder = shutil.copytree(templates[format], root / "cache")
    store, path = open_cache(folder).store, data.draw(st.sampled_from(NODES))
    changed = data.draw(edits(store.attrs(path)))
    if isinstance(changed, dict):
        with suppress(LefError, ValueError):  # what no writer can write
            store.set_attrs(path, changed)
    look(folder)
    if data.draw(st.integers(0, 2)) == 0:  # takes a second
        change(folder)
    assert [each.name for each in root.iterdir()] == ["cache"]


WHERE = {
    "arrays of a split": ("tiny/fake/train", ("arrays", 0)),
    "arrays of a ledger": ("tiny/fake/train/ledger/0", ("arrays", 0)),
    "what layers are called": ("tiny/fake/train", ("aliases", "2")),
    "a split": ("tiny", ("splits", "train")),
}


OUT = ("../../../outside/thesis", "/etc/passwd", "mean/../../x", "mean\x00", "\ud800", "ledger/0")


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_names_that_lead_out_of_a_cache_are_refused(templates, tmp_path, tree_bytes, where, format):
    folder = shutil.copytree(templates[format], tmp_path / "cache")
    (tmp_path / "outside" / "thesis" / "c").mkdir(parents=True)
    (tmp_path / "outside" / "thesis" / "c" / "0").write_text("years of work")
    node, place = WHERE[where]
    store = open_cache(folder).store
    good = store.attrs(node)
    good.setdefault("aliases", {})["2"] = "last"
    for name in reversed(OUT):
        with suppress(LefError, UnicodeEncodeError):  # which HDF5 cannot even hold
            if where == "a split":
                store.set_attrs(node, edited(good, ("splits",), {**good["splits"], name: 3}))
            else:
                store.set_attrs(node, edited(good, place, name))
            with pytest.raises(LefError):
                open_cache(folder).table("fake:1")
    look(folder)
    change(folder)
    assert list(tree_bytes(tmp_path / "outside").values()) == [b"years of work"]


ABSURD = {
    "rows without end": ("tiny/fake/train", "rows", 2**62),
    "more rows than the corpus": ("tiny/fake/train", "rows", 2**30),
    "blocks of nothing": ("tiny/fake/train", "block_rows", 0),
    "blocks that begin amid a chunk": ("tiny/fake/train", "chunk_rows", 3),
    "a depth without end": ("tiny/fake", "depth", 2**62),
    "a width without end": ("tiny/fake", "width", 2**62),
    "rows of a corpus without end": ("tiny", "splits", {"train": 2**31, "test": 3}),
    "rows that are true": ("tiny/fake/train", "rows", True),
    "a Spec of another kind": ("tiny/fake", "spec", [1]),
    "a flag of a stranger": ("tiny/fake", "flags", ["--trust-remote-code"]),
    "an option of a stranger": ("tiny", "options", {"trust-remote-code": "x"}),
    "a label of another kind": ("tiny", "classes", ["no", 7]),
    "a class twice": ("tiny", "classes", ["no", "no"]),
    "fewer classes than labels": ("tiny", "classes", ["no"]),
    "a type of objects": ("tiny/fake/train/ledger/0", "dtypes", {"mean/1": "object"}),
    "an array twice": ("tiny/fake/train", "arrays", ["mean/1", "mean/1"]),
    "a number that is none": ("tiny/fake", "provenance", {"threads": float("inf")}),
    "a key of another place": ("tiny/fake/train", "key_there", "--cache=/etc"),
}


def test_a_ledger_of_blocks_without_end_is_refused_before_it_is_read(templates, tmp_path):
    folder = shutil.copytree(templates["zarr"], tmp_path / "cache")
    file = folder / "tiny/fake/train/ledger/0/zarr.json"
    node = json.loads(file.read_text())
    file.write_text(json.dumps(node | {"shape": [1 << 22, node["shape"][1]]}))
    with pytest.raises(DamagedError, match="not the ledger"):
        open_cache(folder).rows("fake:1")


def _use(cache):
    cache.table("fake:1")
    cache.pages("fake").tokens()
    cache.pages("fake").resume_command()
    extract(FakeBackbone(depth=2), CORPUS, cache, pools=["max"], **SETTINGS)
    remove(cache.store, doomed(cache, "tiny/fake:1"))


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("format", ["zarr", "hdf5"])
def test_attributes_that_cannot_be_are_refused(templates, tmp_path, name, format):
    folder = shutil.copytree(templates[format], tmp_path / "cache")
    node, field, value = ABSURD[name]
    store = open_cache(folder).store
    store.set_attrs(node, store.attrs(node) | {field: value})
    with pytest.raises(LefError):
        _use(open_cache(folder))
    look(folder)


@pytest.mark.parametrize("path", ["", *NODES[:3], "tiny/labels", "tiny/labels/train", "tiny/rows"])
def test_metadata_that_is_gone_is_damage(templates, tmp_path, path):
    folder = shutil.copytree(templates["zarr"], tmp_path / "cache")
    (folder / path / "zarr.json").unlink()
    look(folder)
    change(folder)


def test_labels_of_no_class_are_damage(templates, tmp_path):
    folder = shutil.copytree(templates["zarr"], tmp_path / "cache")
    cache = open_cache(folder)
    cache.store.write("tiny/labels/train", 0, np.full(9, 2**31 - 1, np.int32))
    with pytest.raises(DamagedError, match="no class"):
        cache.table("fake:1")
    look(folder)
    change(folder)


def test_labels_of_objects_or_of_two_columns_are_damage(templates, tmp_path):
    folder = shutil.copytree(templates["zarr"], tmp_path / "cache")
    cache = open_cache(folder)
    for shape, dtype in (((9, 2), "<i4"), ((9,), "<f4"), ((2,), "<i4")):
        cache.store.create("tiny/labels/train", shape, dtype, 9, ("row", "x")[: len(shape)])
        cache.store.write("tiny/labels/train", 0, np.zeros(shape, dtype))
        with pytest.raises(DamagedError):
            cache.table("fake:1")


def test_tokens_that_cannot_be_counted_are_damage(templates, tmp_path):
    folder = shutil.copytree(templates["zarr"], tmp_path / "cache")
    cache = open_cache(folder)
    cache.store.create("tiny/fake/train/tokens", (9,), "<f2", 4, ("row",))
    with pytest.raises(DamagedError, match="no number of tokens"):
        extract(FakeBackbone(depth=2), CORPUS, cache, pools=["max"], **SETTINGS)


# Locks


@pytest.mark.parametrize("name", [".locks", ".locks/tiny.lock", ".locks/tiny.json"])
def test_a_lock_that_leads_elsewhere_is_not_taken(tmp_path, name):
    theirs = tmp_path / "theirs"
    theirs.write_text("years of work") if "/" in name else theirs.mkdir()
    root = tmp_path / "cache"
    (root / name).parent.mkdir(parents=True)
    (root / name).symlink_to(theirs)
    with pytest.raises(LefError, match="is a link"), exclusive(root, "tiny"):
        pass
    assert (theirs.read_text() == "years of work") if "/" in name else not list(theirs.iterdir())


def test_what_a_lock_says_of_its_holder_is_not_believed_blindly(tmp_path):
    root = tmp_path / "cache"
    with exclusive(root, "tiny"):
        (root / ".locks" / "tiny.json").unlink()
        os.mkfifo(root / ".locks" / "tiny.json")
        with pytest.raises(LefError, match="only just started"), exclusive(root, "tiny"):
            pass


def test_a_corpus_that_is_a_link_is_refused_by_every_command(templates, tmp_path, tree_bytes):
    theirs = shutil.copytree(templates["zarr"], tmp_path / "theirs")
    folder = shutil.copytree(templates["zarr"], tmp_path / "cache")
    for name in ("tiny/fake", "tiny"):
        shutil.rmtree(folder / name)
        (folder / name).symlink_to(theirs / name)
        before = tree_bytes(theirs)
        with pytest.raises(DamagedError, match="is a link"):
            open_cache(folder).ls()
        look(folder)
        change(folder)
        assert tree_bytes(theirs) == before


@pytest.mark.parametrize(
    "key", [*CLIMBING, "tiny/..", "tiny/fake/../..", "tiny:..", "tiny/fake@.."]
)
def test_keys_that_lead_out_name_nothing(templates, tmp_path, key):
    cache = open_cache(templates["zarr"])
    for find in (
        lambda: doomed(cache, key),
        lambda: cache.below(key),
        lambda: cache.convert(key, "hdf5"),
        lambda: cache[key],
        lambda: cache["tiny"][key],
    ):
        with pytest.raises(LefError):
            find()
    if key.strip("/"):
        with pytest.raises(LefError):
            verify(cache, key)


@given(st.text(max_size=12) | st.from_regex(r"[a-z/:@.~]{1,12}", fullmatch=True))
@few
def test_any_key_is_found_or_refused(templates, key):
    cache = open_cache(templates["zarr"])
    for find in (
        lambda: doomed(cache, key),
        lambda: cache.below(key),
        lambda: cache.convert(key, "zarr"),
        lambda: verify(cache, key),
        lambda: cache.features(key),
        lambda: cache.rows(key),
        lambda: cache.pages(key),
        lambda: cache.corpus(key),
        lambda: cache.table("fake:1", key, key),
    ):
        with only_our_errors():
            find()


def test_the_words_of_a_command_are_kept_apart(templates, tmp_path):
    """A prompt may look like the end of a command, or like a flag; it stays a prompt."""
    folder = shutil.copytree(templates["stopped"], tmp_path / "cache")
    cache = open_cache(folder)
    hostile = {"prompt": "&&", "instruction": "rm", "chat_template": "--trust-remote-code"}
    set_spec(cache.store, "tiny/fake", **hostile)
    [words] = cache.pages("fake").resume_words()
    assert words[:2] == ["lef", "extract"]
    assert words[words.index("--prompt") + 1] == "&&"
    assert "--trust-remote-code" not in words
    assert "--chat-template=--trust-remote-code" in words
    assert json.dumps(cache.pages("fake").resume_command())


LONG = int("9" * 4000)


@pytest.fixture
def made(templates, tmp_path):
    return open_cache(shutil.copytree(templates["zarr"], tmp_path / "made"))


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("", {"version": LONG}),
        ("tiny", {"splits": {"train": LONG}}),
        ("tiny/fake", {"width": LONG}),
        ("tiny/fake", {"x" * 4000: "\0"}),
        ("tiny/fake", {"spec": {"x" * 4000: 1}}),
        ("tiny/fake/train", {"arrays": ["mean/1", "x" * 4000]}),
    ],
)
def test_no_message_is_as_long_as_what_it_tells_of(made, path, change):
    made.store.set_attrs(path, made.store.attrs(path) | change)
    with pytest.raises(LefError) as caught:
        open_cache(made.path).rows("fake:1")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("field", ["zarr_format", "node_type", "data_type", "shape"])
def test_no_message_is_as_long_as_what_a_document_says(made, field):
    file = made.path / "tiny/fake/train/mean/1/zarr.json"
    node = json.loads(file.read_bytes())
    file.write_text(json.dumps(node | {field: [LONG] if field == "shape" else LONG}))
    with pytest.raises(LefError) as caught:
        made.rows("fake:1")
    assert len(str(caught.value)) < 600


def test_settings_are_shown_from_where_they_differ():
    one, other = (Spec(prompt="x" * 4000 + end) for end in "ab")
    [line] = one.difference(other)
    assert line == f"prompt: ...{'x' * 20 + 'a'!r} in the cache, ...{'x' * 20 + 'b'!r} now"
