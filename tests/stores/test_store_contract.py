"""What every store must do, told with plain files; a class per format fills in the raw part."""

import json
import os
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from lefcache.dtypes import dtype_of
from lefcache.errors import DamagedError, LefError, StorageError
from lefcache.rows import Rows
from lefcache.stores import hdf5_store, journal
from lefcache.stores.hdf5_open import Held
from lefcache.stores.hdf5_store import Hdf5Store
from lefcache.stores.zarr_store import ZarrStore


class StoreContract:
    """Subclasses give `make`, and helpers that use no method of the store."""

    def make(self, root):
        raise NotImplementedError

    def raw(self, store, path, chunk):
        """The bytes of a chunk as they lie on disk."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path):
        return self.make(tmp_path / "store")

    @pytest.fixture
    def filled(self, store):
        """Ten rows of three, in chunks of four."""
        store.create("a/b", (10, 3), "<f4", 4, ("row", "feature"))
        self.values = np.arange(1, 31, dtype="<f4").reshape(10, 3)
        for start in (0, 4, 8):
            store.write("a/b", start, self.values[start : start + 4])
        return store

    # Trees

    def test_what_is_absent_is_empty(self, store):
        assert store.children("") == store.children("x/y") == []
        assert store.attrs("") == store.attrs("x/y") == {}
        assert store.info("x/y") is None

    def exists(self, root):
        """Whether there is anything at all."""
        return root.exists()

    def test_looking_creates_nothing(self, store):
        store.children("x"), store.attrs("x"), store.info("x")
        assert not self.exists(store.root)

    def test_children_are_sorted_groups_and_arrays(self, store):
        store.set_attrs("b", {"x": 1})
        store.set_attrs("a/deep/er", {})
        store.create("c", (1,), "<i4", 1, ("row",))
        assert store.children("") == ["a", "b", "c"]
        assert store.children("a") == ["deep"]
        assert store.children("a/deep") == ["er"]

    def test_every_group_above_a_node_exists(self, store):
        store.create("a/b/c", (1,), "<i4", 1, ("row",))
        assert (store.children(""), store.children("a")) == (["a"], ["b"])

    # Attributes

    @pytest.mark.parametrize("path", ["", "g", "g/h", "a/b"])
    def test_attributes_come_back(self, filled, path):
        values = {"text": "ü\n", "list": [1, "two", None], "nested": {"a": 1.5}, "yes": True}
        filled.set_attrs(path, values)
        assert filled.attrs(path) == values
        assert self.make(filled.root).attrs(path) == values

    def test_attributes_are_replaced_and_not_merged(self, store):
        store.set_attrs("g", {"old": 1, "both": 1})
        store.set_attrs("g", {"both": 2})
        assert store.attrs("g") == {"both": 2}

    def test_attributes_of_a_group_leave_its_children_alone(self, filled):
        filled.set_attrs("a", {"x": 1})
        filled.set_attrs("", {"y": 1})
        np.testing.assert_array_equal(filled.read("a/b"), self.values)

    # Arrays

    def test_info_says_what_an_array_is_made_of(self, filled):
        info = filled.info("a/b")
        assert (info.shape, info.dtype, info.chunk_rows) == ((10, 3), np.dtype("<f4"), 4)
        assert info.axes == ("row", "feature")
        assert filled.info("a") is None

    @pytest.mark.parametrize("dtype", ["<f2", "<f4", "<u4", "<u8", "<i4"])
    @pytest.mark.parametrize("shape", [(5,), (5, 2)])
    def test_every_type_in_use_comes_back(self, store, dtype, shape):
        values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        store.create("x", shape, dtype, 2, ("row", "feature")[: len(shape)])
        for start in (0, 2, 4):
            store.write("x", start, values[start : start + 2])
        assert store.read("x").dtype == np.dtype(dtype)
        np.testing.assert_array_equal(store.read("x"), values)

    def test_bfloat16_is_kept_as_its_bits_and_comes_back(self, store):
        values = np.array([[1, -2.5], [0.1, 3e38], [0, -0.0], [7, 1e-40]], np.float32)
        narrow = values.astype(dtype_of("bfloat16"))
        store.create("x", (3, 2), dtype_of("bfloat16"), 2, ("row", "feature"))
        store.write("x", 0, narrow[:2])
        store.write("x", 2, values[2:3])  # rounded, and not taken for whole numbers
        store.resize("x", 4)
        store.write("x", 2, narrow[2:])
        assert store.info("x").dtype == dtype_of("bfloat16")
        assert self.raw(store, "x", 0) == narrow[:2].view("<u2").tobytes()
        np.testing.assert_array_equal(store.read("x").view(np.uint16), narrow.view(np.uint16))
        rows = Rows(store.extents("x"), store.info("x").dtype, 2)
        np.testing.assert_array_equal(rows, narrow.astype(np.float32))

    def test_a_chunk_on_disk_is_its_raw_rows(self, filled):
        for chunk, start in enumerate((0, 4, 8)):
            rows = self.values[start : start + 4].tobytes()
            raw = self.raw(filled, "a/b", chunk)
            assert raw[: len(rows)] == rows
            assert raw[len(rows) :] == bytes(4 * 3 * 4 - len(rows))

    def test_a_chunk_of_zeros_is_written(self, filled):
        filled.write("a/b", 4, np.zeros((4, 3), "<f4"))
        assert self.raw(filled, "a/b", 1) == bytes(48)
        assert len(filled.extents("a/b")) == 3

    def test_many_chunks_may_be_written_at_once(self, store):
        values = np.arange(10, dtype="<u4")
        store.create("x", (10,), "<u4", 4, ("row",))
        store.write("x", 0, values)
        np.testing.assert_array_equal(store.read("x"), values)

    def test_values_of_another_layout_are_written_in_c_order(self, filled):
        filled.write("a/b", 0, np.asfortranarray(self.values[:4]))
        assert self.raw(filled, "a/b", 0) == self.values[:4].tobytes()

    def test_writing_again_replaces(self, filled):
        filled.write("a/b", 4, -self.values[4:8])
        np.testing.assert_array_equal(filled.read("a/b")[4:8], -self.values[4:8])
        np.testing.assert_array_equal(filled.read("a/b")[:4], self.values[:4])

    def test_a_write_begins_a_chunk(self, filled):
        with pytest.raises(AssertionError):
            filled.write("a/b", 2, self.values[:2])

    def test_creating_again_begins_anew(self, filled):
        filled.create("a/b", (4, 3), "<f2", 2, ("row", "feature"))
        info = filled.info("a/b")
        assert (info.shape, info.dtype, info.chunk_rows) == ((4, 3), np.dtype("<f2"), 2)
        assert not filled.read("a/b", sparse=True).any()

    @pytest.mark.parametrize("rows", [8, 9, 11, 12, 13, 30])
    def test_resizing_keeps_the_rows_there_are(self, filled, rows):
        filled.resize("a/b", rows)
        kept = min(rows, 10)
        assert filled.info("a/b").shape == (rows, 3)
        np.testing.assert_array_equal(filled.read("a/b", kept), self.values[:kept])
        assert not filled.read("a/b", sparse=True)[kept:].any()

    def test_a_grown_array_can_be_filled(self, filled):
        filled.resize("a/b", 14)
        more = np.arange(18, dtype="<f4").reshape(6, 3)
        filled.write("a/b", 8, more)
        np.testing.assert_array_equal(filled.read("a/b"), [*self.values[:8], *more])
        assert [extent.rows for extent in filled.extents("a/b")] == [4, 4, 4, 2]

    @pytest.mark.parametrize(("start", "stop"), [(0, 4), (3, 9), (4, 8), (9, 10), (5, 5), (8, 99)])
    def test_some_rows_are_read_alone(self, filled, start, stop):
        found = filled.read("a/b", stop, start=start)
        np.testing.assert_array_equal(found, self.values[start:stop])

    # Extents

    def test_extents_are_where_the_rows_lie(self, filled):
        extents = filled.extents("a/b")
        assert sum(extent.rows for extent in extents) == 10
        for extent, start in zip(extents, (0, 4, 8), strict=True):
            raw = Path(extent.path).read_bytes()[extent.offset :]
            rows = self.values[start : start + 4].tobytes()
            assert raw[: len(rows)] == rows
        np.testing.assert_array_equal(Rows(extents, "<f4", 3), self.values)

    def test_a_node_is_deleted_with_all_below_it(self, filled):
        filled.create("a/c/d", (2,), "<u4", 2, ("row",))
        filled.delete("a/c")
        filled.delete("never/there")
        assert filled.children("a") == ["b"]
        assert filled.info("a/c/d") is None
        np.testing.assert_array_equal(filled.read("a/b"), self.values)

    def test_the_size_of_a_node_is_that_of_its_rows_at_least(self, filled):
        assert filled.size("a/b") >= self.values.nbytes
        assert filled.size("") >= filled.size("a") >= filled.size("a/b")

    def test_what_was_written_is_put_on_the_disk_once(self, filled, monkeypatch):
        synced, named = [], lambda file: str(Path(f"/dev/fd/{file}").readlink())
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(named(file)))
        filled.sync()
        assert {extent.path for extent in filled.extents("a/b")} <= set(synced)
        filled.write("a/b", 4, self.values[4:8])
        synced.clear()
        filled.sync()
        assert filled.extents("a/b")[1].path in synced

    def test_two_stores_see_the_same(self, filled):
        other = self.make(filled.root)
        other.set_attrs("a", {"made": "there"})
        other.write("a/b", 0, -self.values[:4])
        assert filled.attrs("a") == {"made": "there"}
        np.testing.assert_array_equal(filled.read("a/b", 4), -self.values[:4])

    # Errors

    def test_a_store_below_a_file_is_a_storage_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        store = self.make(tmp_path / "file" / "store")
        for change in (
            lambda: store.set_attrs("", {"a": 1}),
            lambda: store.create("x", (1,), "<u4", 1, ("row",)),
        ):
            with pytest.raises(StorageError, match="--cache"):
                change()

    def test_reading_what_is_not_there_is_an_error_of_ours(self, store):
        with pytest.raises(LefError):
            store.read("x")


class TestZarr(StoreContract):
    def make(self, root):
        return ZarrStore(root)

    def raw(self, store, path, chunk):
        [file] = (store.root / path / "c" / str(chunk)).rglob("0")
        return file.read_bytes()

    def test_files_of_others_are_no_children(self, filled):
        (filled.root / ".locks").mkdir()
        (filled.root / "results").mkdir()
        (filled.root / "note.txt").write_text("x")
        assert filled.children("") == ["a"]

    def test_the_size_does_without_a_file_that_a_writer_renames_meanwhile(
        self, filled, monkeypatch
    ):
        whole, walk = filled.size("a"), os.walk

        def walk_while_written(folder):
            (draft := filled.root / "a/.zarr.json.94886d44.tmp").write_bytes(b"{}")
            for found in walk(folder):
                draft.unlink(missing_ok=True)
                yield found

        monkeypatch.setattr(os, "walk", walk_while_written)
        assert filled.size("a") == whole

    @pytest.mark.parametrize("chunk", [0, 1, 2])
    def test_a_lost_chunk_is_damage(self, filled, chunk):
        (filled.root / f"a/b/c/{chunk}/0").unlink()
        with pytest.raises(DamagedError):
            filled.extents("a/b")

    def test_an_array_that_was_never_written_is_damage(self, filled):
        filled.resize("a/b", 13)
        filled.create("x", (4,), "<u4", 2, ("row",))
        for path in ("a/b", "x"):
            with pytest.raises(DamagedError):
                filled.extents(path)
            with pytest.raises(DamagedError):
                filled.read(path)

    def test_plain_zarr_reads_the_same_numbers(self, filled):
        import zarr

        filled.set_attrs("a", {"made": "here"})
        group = zarr.open_group(filled.root, mode="r")
        assert (sorted(group), group["a"].attrs["made"]) == (["a"], "here")
        np.testing.assert_array_equal(group["a/b"][...], self.values)

    def test_plain_zarr_reads_the_bits_of_bfloat16(self, store):
        import zarr

        store.create("x", (2, 2), dtype_of("bfloat16"), 2, ("row", "feature"))
        store.write("x", 0, np.array([[1, -2], [0.5, 3]], np.float32))
        array = zarr.open_array(store.root / "x", mode="r")
        assert (array.dtype, array.attrs["bits_of"]) == (np.uint16, "bfloat16")
        assert array[...].tolist() == [[0x3F80, 0xC000], [0x3F00, 0x4040]]

    def test_bits_of_a_type_that_nobody_knows_are_damage(self, filled):
        filled.set_attrs("a/b", {"bits_of": "float3"})
        with pytest.raises(DamagedError, match="cannot be read"):
            filled.info("a/b")

    def test_the_metadata_says_no_compressor_and_names_the_axes(self, filled):
        meta = json.loads((filled.root / "a/b/zarr.json").read_text())
        assert meta["zarr_format"] == 3
        assert [codec["name"] for codec in meta["codecs"]] == ["bytes"]
        assert meta["codecs"][0]["configuration"] == {"endian": "little"}
        assert meta["dimension_names"] == ["row", "feature"]
        assert meta["chunk_grid"]["configuration"]["chunk_shape"] == [4, 3]

    def test_a_chunk_that_another_zarr_program_wrote_maps_too(self, filled):
        import zarr

        zarr.open_array(filled.root / "a/b", mode="r+")[0:4] = 7
        assert Rows(filled.extents("a/b"), "<f4", 3)[0].tolist() == [7, 7, 7]

    @pytest.mark.parametrize("left", [0, 1, 47])
    def test_a_torn_chunk_is_damage(self, filled, left):
        file = filled.root / "a/b/c/1/0"
        file.write_bytes(file.read_bytes()[:left])
        with pytest.raises(DamagedError, match=f"{left} bytes where 48 were written"):
            filled.extents("a/b")

    def test_a_chunk_that_is_too_long_is_damage(self, filled):
        with (filled.root / "a/b/c/0/0").open("ab") as file:
            file.write(b"x")
        with pytest.raises(DamagedError, match="49 bytes"):
            filled.extents("a/b")

    def test_an_array_that_another_program_compressed_is_refused(self, store):
        import zarr

        group = zarr.open_group(store.root, mode="a")
        group.create_array("x", shape=(4,), chunks=(2,), dtype="<f4")  # zstd, the default
        with pytest.raises(DamagedError, match="compressed by another program"):
            store.info("x")

    @pytest.mark.parametrize("content", ["", "{", "[]", "null"])
    @pytest.mark.parametrize("path", ["", "a", "a/b"])
    def test_metadata_that_cannot_be_read_is_damage(self, filled, path, content):
        (filled.root / path / "zarr.json").write_text(content)
        with pytest.raises(DamagedError, match="cannot be read"):
            filled.attrs(path)

    def test_half_written_chunks_are_swept_away(self, filled):
        stray = filled.root / "a/b/c/1/0.0123456789abcdef.partial"
        stray.write_bytes(b"half")
        filled.sweep("a")
        assert not stray.exists()
        np.testing.assert_array_equal(filled.read("a/b"), self.values)

    def test_a_deletion_that_was_cut_short_is_swept_away(self, filled, monkeypatch):
        def die(_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("shutil.rmtree", die)
            with pytest.raises(KeyboardInterrupt):
                filled.delete("a/b")
        assert len(list((filled.root / "a").iterdir())) == 2
        filled.sweep("a/b")
        assert [file.name for file in (filled.root / "a").iterdir()] == ["zarr.json"]

    def test_where_others_may_write_only_metadata_is_swept(self, filled):
        names = (".zarr.json.0f.tmp", "zarr.0f.partial", "b/c/0.1.partial", "b/.zarr.json.0f.tmp")
        strays = [filled.root / "a" / name for name in names]
        for stray in strays:
            stray.write_text("half")
        filled.sweep("a", deep=False)
        assert [stray.exists() for stray in strays] == [False, False, True, True]
        filled.sweep("a")
        assert not any(stray.exists() for stray in strays)

    def test_metadata_that_a_kill_kept_from_its_place_is_swept_away(self, filled, monkeypatch):
        def die(*_, **__):
            raise KeyboardInterrupt

        before = filled.attrs("a/b")
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", die)
            patch.setattr(Path, "unlink", die)
            with pytest.raises(KeyboardInterrupt):
                filled.set_attrs("a/b", {"x": 1})
        assert [*filled.root.rglob("*.tmp")] != []
        assert filled.attrs("a/b") == before
        filled.sweep("a")
        assert [*filled.root.rglob("*.tmp")] == []

    def test_a_mended_bit_leaves_no_drafts(self, filled):
        file = filled.root / "a/zarr.json"
        whole = file.read_bytes()
        file.with_name(".zarr.json.0f.tmp").write_text("half")
        file.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        assert filled.mend("a")
        assert file.read_bytes() == whole
        assert [*file.parent.glob(".*")] == []

    def test_sweeping_what_is_absent_does_nothing(self, store):
        store.sweep("nothing/here")
        assert not store.root.exists()

    def test_looking_needs_no_zarr(self, filled, python):
        code = (
            "import sys; from pathlib import Path\n"
            "from lefcache.stores.zarr_store import ZarrStore\n"
            "store = ZarrStore(Path(sys.argv[1]))\n"
            "store.children('a'), store.attrs('a'), store.info('a/b'), store.extents('a/b')\n"
            "print(store.read('a/b').sum(), 'zarr' in sys.modules)"
        )
        assert python(code, filled.root).split() == [str(self.values.sum()), "False"]

    def test_a_torn_chunk_is_not_read(self, filled):
        file = filled.root / "a/b/c/1/0"
        file.write_bytes(file.read_bytes()[:8])
        with pytest.raises(DamagedError, match="8 bytes where 48 were written"):
            filled.read("a/b")

    def test_an_older_format_is_not_read_as_this_one(self, filled):
        meta = filled.root / "a/b/zarr.json"
        meta.write_text(meta.read_text().replace('"zarr_format": 3', '"zarr_format": 2'))
        with pytest.raises(DamagedError, match="Zarr format 2"):
            filled.info("a/b")

    def test_numbers_of_another_byte_order_are_read_as_what_they_are(self, store):
        import zarr

        group = zarr.open_group(store.root, mode="a")
        values = np.arange(4, dtype=">u4")
        group.create_array("x", data=values, chunks=(2,), compressors=None, filters=None)
        np.testing.assert_array_equal(store.read("x"), values)


class TestHdf5(StoreContract):
    def make(self, root):
        return Hdf5Store(root)

    def raw(self, store, path, chunk):
        with h5py.File(store.root, "r") as file:
            array = file[path]
            start = (chunk * array.chunks[0], *[0] * (array.ndim - 1))
            where = array.id.get_chunk_info_by_coord(start)
            assert where.filter_mask == 0
        return store.root.read_bytes()[where.byte_offset :][: where.size]

    def test_plain_hdf5_reads_the_same_numbers(self, filled):
        filled.set_attrs("a", {"made": "here", "list": [1, None]})
        with h5py.File(filled.root, "r") as file:
            assert json.loads(file["a"].attrs["list"]) == [1, None]
            array = file["a/b"]
            assert (array.chunks, array.compression) == ((4, 3), None)
            assert [each.label for each in array.dims] == ["row", "feature"]
            np.testing.assert_array_equal(array[...], self.values)

    def test_rows_never_move(self, filled):
        before = filled.extents("a/b")
        filled.resize("a/b", 30)
        filled.create("a/c", (100, 50), "<f4", 10, ("row", "feature"))
        filled.set_attrs("a/b", {"long": "x" * 100_000})
        assert filled.extents("a/b")[:2] == before[:2]
        np.testing.assert_array_equal(filled.read("a/b", 10), self.values)

    def test_vectors_lie_where_their_numbers_are_aligned(self, store):
        store.set_attrs("", {"odd": "x" * 33})
        for name in ("a", "b"):
            store.create(name, (100, 7), "<f4", 50, ("row", "feature"))
            store.set_attrs(name, {"odd": "x" * 13})
        assert {each.offset % 64 for name in ("a", "b") for each in store.extents(name)} == {0}

    def test_what_another_array_left_behind_is_not_taken_for_zeros(self, filled):
        filled.delete("a/b")
        filled.create("ledger", (40, 3), "<u4", 1, ("block", "entry"))
        assert not filled.read("ledger").any()

    def test_a_file_appears_with_its_attributes(self, store, monkeypatch):
        def die(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(journal, "replace_file", die)
        store.set_attrs("a/b", {"rows": 3})
        assert store.attrs("a/b") == {"rows": 3}

    @pytest.mark.parametrize("step", range(8))
    def test_a_change_that_a_kill_cuts_short_is_done_or_undone(self, filled, monkeypatch, step):
        class Killed(BaseException):
            pass

        def grow():
            filled.resize("a/b", 14)

        steps = iter(range(100))

        def or_die(function):
            def called(*arguments, **named):
                if next(steps) == step:
                    raise Killed
                return function(*arguments, **named)

            return called

        monkeypatch.setattr(journal, "_copy", or_die(journal._copy))
        monkeypatch.setattr(journal, "replace_file", or_die(journal.replace_file))
        monkeypatch.setattr(os, "fsync", or_die(os.fsync))
        with suppress(Killed):
            grow()
        monkeypatch.undo()
        for store in (filled, self.make(filled.root)):  # with and without finishing the change
            assert store.info("a/b").shape[0] in (10, 14)
            np.testing.assert_array_equal(store.read("a/b", 10), self.values)
            store.sweep("")
        assert [file.name for file in filled.root.parent.iterdir()] == ["store"]
        with h5py.File(filled.root, "r") as file:
            np.testing.assert_array_equal(file["a/b"][:10], self.values)

    def test_a_file_that_is_looked_at_again_and_again_is_opened_once(self, filled, monkeypatch):
        opened, open_file = [], h5py.File
        monkeypatch.setattr(h5py, "File", lambda *a, **k: opened.append(a) or open_file(*a, **k))
        held = Held()
        store = Hdf5Store(filled.root, look=held.look)
        for _ in range(3):
            assert (store.children("a"), store.attrs("a")) == (["b"], {})
            assert (store.seal("a/b").holds, store.info("a/x")) == (True, None)
            assert store.extents("a/b") == filled.extents("a/b")
        assert len(opened) == 1 + 3  # those of `filled` are looks of their own
        store.attrs("a")["mine"] = 1
        store.children("a").append("mine")
        assert (store.children("a"), store.attrs("a")) == (["b"], {})
        held.close()

    def test_extents_are_those_of_one_moment(self, filled, monkeypatch):
        look = filled._look_at

        def overtaken(path, node, see):
            seen = look(path, node, see)
            self.make(filled.root).resize("a/b", 30)
            return seen

        monkeypatch.setattr(filled, "_look_at", overtaken)
        assert [each.rows for each in filled.extents("a/b")] == [4, 4, 2]

    def test_what_a_writer_changes_is_seen_though_the_file_was_open(self, filled):
        held = Held()
        store = Hdf5Store(filled.root, look=held.look)
        assert store.info("a/b").shape == (10, 3)
        filled.resize("a/b", 14)
        filled.set_attrs("a", {"x": 1})
        assert (store.info("a/b").shape, store.attrs("a")) == ((14, 3), {"x": 1})
        filled.root.write_bytes(filled.root.read_bytes()[:600])
        for _ in range(2):
            with pytest.raises(DamagedError, match="cannot be read"):
                store.info("a/b")
        held.close()

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
    def test_a_change_that_is_half_in_the_file_is_read_whole(self, filled, monkeypatch, share):
        def half(file, pieces):
            for offset, piece in pieces[: int(share * len(pieces))]:
                file.seek(offset)
                file.write(piece[: 1 + int(share * len(piece))])
            raise KeyboardInterrupt

        monkeypatch.setattr(journal, "_copy", half)
        with pytest.raises(KeyboardInterrupt):
            filled.create("a/c", (6, 2), "<f4", 2, ("row", "feature"))
        assert filled.children("a") == ["b", "c"]
        np.testing.assert_array_equal(filled.read("a/b"), self.values)
        monkeypatch.undo()
        filled.write("a/b", 0, -self.values[:4])
        filled.set_attrs("a", {"x": 1})  # finishes it first
        np.testing.assert_array_equal(filled.read("a/b"), [*-self.values[:4], *self.values[4:]])
        assert filled.info("a/c").shape == (6, 2)

    @pytest.mark.parametrize("left", [0, 1, 100, 600])
    def test_a_file_that_was_cut_off_is_damage(self, filled, left):
        filled.root.write_bytes(filled.root.read_bytes()[:left])
        with pytest.raises(DamagedError, match="cannot be read"):
            filled.info("a/b")

    def test_rows_beyond_the_end_of_the_file_are_damage(self, filled, monkeypatch):
        [*_, last] = filled.extents("a/b")
        monkeypatch.setattr(hdf5_store, "_size", lambda path: last.offset + 11)
        with pytest.raises(DamagedError, match="beyond its end"):
            filled.extents("a/b")

    def test_an_array_that_another_program_compressed_is_refused(self, store):
        store.set_attrs("", {})
        with h5py.File(store.root, "r+") as file:
            file.create_dataset("x", data=np.zeros((4, 2)), chunks=(2, 2), compression="gzip")
            file.create_dataset("y", data=np.zeros((4, 2)))
        for name in ("x", "y"):
            with pytest.raises(DamagedError, match="another program"):
                store.info(name)

    def test_attributes_of_another_program_are_damage(self, store):
        store.set_attrs("", {})
        with h5py.File(store.root, "r+") as file:
            file.attrs["x"] = np.arange(3)
        with pytest.raises(DamagedError, match="cannot be read"):
            store.attrs("")

    def test_a_damaged_journal_is_refused_and_says_so(self, filled):
        Path(f"{filled.root}.journal").write_bytes(b"lefcache journal 1\nnonsense")
        with pytest.raises(DamagedError, match="not a whole journal; delete it"):
            filled.read("a/b")
