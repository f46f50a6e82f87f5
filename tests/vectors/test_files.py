"""Which file is what, and everything that is no matrix of the texts."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache.corpus import Corpus, Split
from lefcache.errors import CorpusError, LefError, NotFiniteError, VectorsError
from lefcache.vectors import find_vectors

TWO = Corpus("two", ("a",), {"train": Split(["x"] * 6), "test": Split(["y", "z"])}, "demo")
ONE = Corpus("one", ("a",), {"train": Split(["x"] * 6)}, "demo")
SIX, PAIR = np.ones((6, 3), np.float32), np.ones((2, 3), np.float32)


def seen(found):
    return {(each.split, each.array, each.file.name) for each in found}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (
            {"train.npy": SIX, "test.npy": PAIR},
            {("train", "own/last", "train.npy"), ("test", "own/last", "test.npy")},
        ),
        (
            {"train/layer-0.npy": SIX, "train/layer-last.npy": SIX, "test/layer-12.npy": PAIR},
            {
                ("train", "mean/0", "layer-0.npy"),
                ("train", "mean/last", "layer-last.npy"),
                ("test", "mean/12", "layer-12.npy"),
            },
        ),
    ],
    ids=["splits", "layers of splits"],
)
def test_a_folder_says_by_its_names_what_it_holds(save, files, wanted):
    assert seen(find_vectors([save(files)], TWO)) == wanted


def test_layers_beside_each_other_are_of_the_split_that_is_told(save):
    folder = save({"layer-0.npy": PAIR, "layer-07.npy": PAIR})
    found = find_vectors([folder], TWO, split="test", pool="cls")
    assert {(each.split, each.array) for each in found} == {
        ("test", "first/0"),
        ("test", "first/7"),
    }
    with pytest.raises(VectorsError, match="of which split"):
        find_vectors([folder], TWO)


def test_a_split_that_is_told_is_the_only_one_taken_of_a_folder(save):
    folder = save({"train.npy": SIX, "dev.npy": SIX})
    assert seen(find_vectors([folder], TWO, split="train")) == {("train", "own/last", "train.npy")}
    with pytest.raises(
        VectorsError, match=r"no vectors of test: it has those of validation, train"
    ):
        find_vectors([folder], TWO, split="test")


def test_files_may_be_given_one_by_one(save):
    folder = save({"train.npy": SIX, "else.npy": PAIR, "test/layer-3.npy": PAIR})
    found = find_vectors([folder / "train.npy", folder / "test" / "layer-3.npy"], TWO)
    assert [(each.split, each.array) for each in found] == [
        ("train", "own/last"),
        ("test", "mean/3"),
    ]
    [found] = find_vectors([folder / "else.npy"], TWO, split="test", pool="mean")
    assert (found.split, found.array) == ("test", "mean/last")


def test_the_only_split_need_not_be_told(save):
    [found] = find_vectors([save({"any.npy": SIX}) / "any.npy"], ONE)
    assert (found.split, found.array) == ("train", "own/last")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "put there train.npy"),
        ({"what.npy": SIX}, "what are these vectors"),
        ({"deep/train/layer-1.npy": SIX}, "what are these vectors"),
        ({"other/layer-1.npy": SIX}, "what are these vectors"),
        ({"train/train.npy": SIX}, "what are these vectors"),
        ({"valid.npy": SIX}, "of the split validation, and two has only train, test"),
        ({"train.npy": PAIR}, "has 2 rows and two/train has 6 texts: row i"),
        ({"train.npy": SIX.T}, "is it transposed"),
        ({"train/layer-1.npy": SIX, "train/layer-01.npy": SIX}, "are both mean/1 of train"),
        ({"train.npy": SIX, "test.npy": PAIR[:, :2]}, "one width"),
        ({"train.npy": np.ones((6, 0))}, "without a single number"),
        ({"train.npy": np.ones(6)}, r"the shape \(6,\)"),
        ({"train.npy": np.ones((6, 2, 3))}, r"the shape \(6, 2, 3\)"),
        ({"train.npy": np.ones((6, 3), np.int8)}, r"holds int8.*astype\(np.float32\)"),
        ({"train.npy": np.ones((6, 3), complex)}, "holds complex128"),
        ({"train.npy": np.array([[None]] * 6)}, "no whole .npy file"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(save, tmp_path, files, message):
    (tmp_path / "vectors").mkdir()
    with pytest.raises(VectorsError, match=message):
        find_vectors([save(files)], TWO)


def test_a_name_and_a_flag_that_contradict_each_other_are_refused(save):
    with pytest.raises(VectorsError, match="named after the split train and --split says test"):
        find_vectors([save({"train.npy": SIX}) / "train.npy"], TWO, split="test")


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"pool": "median"}, VectorsError, "no pool 'median': it is one of mean"),
        ({"split": "holdout"}, CorpusError, "no split 'holdout'"),
    ],
)
def test_choices_that_are_none_are_refused(save, choices, error, message):
    with pytest.raises(error, match=message):
        find_vectors([save({"train.npy": SIX})], TWO, **choices)


def test_no_path_and_no_file_are_refused(tmp_path):
    with pytest.raises(VectorsError, match="no paths were given"):
        find_vectors([], TWO)
    with pytest.raises(VectorsError, match="no vectors at"):
        find_vectors([tmp_path / "nowhere.npy"], TWO)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


WHOLE = np.lib.format.magic(1, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        pickle.dumps(Bomb()),
        WHOLE,
        WHOLE + b"\x05\x00{((((",
        b"\x93NUMPY\x09\x00",
    ],
    ids=["empty", "zip", "pickle", "no header", "half a header", "version 9"],
)
def test_a_file_that_is_no_matrix_is_refused(tmp_path, content):
    file = tmp_path / "train.npy"
    file.write_bytes(content)
    with pytest.raises(VectorsError, match=r"train\.npy is no whole \.npy file.*np\.save"):
        find_vectors([file], TWO)


def test_a_file_that_is_cut_or_that_goes_on_is_refused(save):
    file = save({"train.npy": SIX}) / "train.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-4])
    with pytest.raises(VectorsError, match="no whole"):
        find_vectors([file], TWO)
    file.write_bytes(content + content)
    with pytest.raises(VectorsError, match="200 bytes after its matrix"):
        find_vectors([file], TWO)


def test_a_folder_called_like_a_file_is_refused(tmp_path):
    (tmp_path / "v" / "train.npy").mkdir(parents=True)
    with pytest.raises(VectorsError, match="cannot be read"):
        find_vectors([tmp_path / "v"], TWO)


@given(st.binary(max_size=40), st.integers(0, 200))
def test_no_damage_to_a_file_is_more_than_an_error_of_ours(tmp_path_factory, noise, at):
    file = tmp_path_factory.getbasetemp() / "damaged.npy"
    np.save(file, SIX)
    content = bytearray(file.read_bytes())
    content[at : at + len(noise)] = noise
    file.write_bytes(content)
    try:
        [found] = find_vectors([file], ONE)
        rows = found.read(0, 6, np.dtype(np.float32))
    except LefError as error:
        assert str(file) in str(error)  # noqa: PT017  damage may also go unnoticed
    else:
        assert rows.shape == (6, found.rows.shape[1])
        assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (np.nan, "float32", r"row 4 \(counted from 0\) has nan in column 1: give every text"),
        (-np.inf, "float16", "has -inf in column 1"),
        (70_000.0, "float16", "70000.0 in column 1, too large for float16.*--store-dtype float32"),
        (1e300, "float32", "too large for float32: divide"),
        (-1e300, "float16", "too large for float16: divide"),
    ],
)
def test_a_value_that_cannot_be_stored_is_named(save, value, dtype, message):
    values = SIX.astype(np.float64)
    values[4, 1] = value
    [found] = find_vectors([save({"train.npy": values})], TWO)
    with pytest.raises(NotFiniteError, match=message):
        found.read(2, 6, np.dtype(dtype))
    assert found.read(0, 4, np.dtype(dtype)).shape == (4, 3)
