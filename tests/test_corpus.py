"""Texts and labels from files: nothing is dropped, nothing is guessed, every refusal says why."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lefcache.columns import Reading
from lefcache.corpus import (
    Corpus,
    Split,
    corpus_name,
    hash_text,
    read_corpus,
    split_name,
)
from lefcache.errors import CorpusError
from lefcache.texts import read_texts
from tests.hostile import CLIMBING, ESCAPES, anything, few, flipped, many, only_our_errors

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path):
    """A function that writes files into a folder: `folder(train_tsv="text\\n...")`."""

    def write(**files):
        target = tmp_path / "data"
        target.mkdir(exist_ok=True)
        for name, content in files.items():
            stem, _, ending = name.rpartition("_")
            raw = content if isinstance(content, bytes) else content.encode()
            (target / f"{stem}.{ending}").write_bytes(raw)
        return target

    return write


def labels_of(corpus, split="train"):
    codes = corpus.splits[split].labels
    return [corpus.classes[code] if code >= 0 else None for code in codes]


# Tab-separated


def test_what_looks_like_the_quotes_of_a_spreadsheet_is_said(folder):
    plain = folder(train_tsv='text\tlabel\n"quoted"\tyes\nsay ""no""\tno\n')
    assert read_corpus(plain).notes == ()
    excel = folder(train_tsv='text\tlabel\n"he said ""no"" twice"\tno\nplain\tyes\n')
    [note] = read_corpus(excel).notes
    assert note.startswith("train: 1 text stands in quotation marks")
    assert "save it as .csv" in note


def test_tsv_is_read_without_quoting(folder):
    corpus = read_corpus(folder(train_tsv='text\tlabel\n"quoted\tyes\nsay ""no""\tno\n'))
    assert corpus.splits["train"].texts == ['"quoted', 'say ""no""']


@pytest.mark.parametrize(
    "odd", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\r", "\ufeff"]
)
def test_only_a_newline_ends_a_row(folder, odd):
    corpus = read_corpus(folder(train_tsv=f"text\tlabel\none{odd}two\tyes\n"))
    assert corpus.splits["train"].texts == [f"one{odd}two"]


def test_windows_line_ends_are_no_part_of_the_last_column(folder):
    corpus = read_corpus(folder(train_tsv="label\ttext\r\nyes\tone\r\nno\ttwo\r\n"))
    assert corpus.splits["train"].texts == ["one", "two"]
    assert labels_of(corpus) == ["yes", "no"]


def test_a_byte_order_mark_is_no_part_of_the_header(folder):
    corpus = read_corpus(folder(train_tsv="\ufefftext\tlabel\na\tyes\n"))
    assert labels_of(corpus) == ["yes"]


def test_the_last_line_may_lack_its_end(folder):
    assert read_corpus(folder(train_tsv="text\na\nb")).splits["train"].texts == ["a", "b"]


def test_an_empty_line_of_one_column_is_an_empty_text(folder):
    assert read_corpus(folder(train_tsv="text\na\n\nb\n")).splits["train"].texts == ["a", "", "b"]


# At most one \r may end a line, so the label stands last.
TEXT = st.text(st.characters(exclude_characters="\t\n", exclude_categories=["Cs"]), max_size=30)
LABEL = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXT, LABEL), min_size=1, max_size=8))
def test_whatever_is_written_to_tsv_comes_back(tmp_path, rows):
    lines = ["text\tlabel", *(f"{text}\t{label}" for text, label in rows)]
    (tmp_path / "train.tsv").write_bytes(("\n".join(lines) + "\n").encode())
    corpus = read_corpus(f"x={tmp_path}")
    assert list(corpus.splits["train"].texts) == [text for text, _ in rows]
    assert labels_of(corpus) == [label for _, label in rows]


# The other formats


def test_csv_may_quote_newlines_and_commas(folder):
    corpus = read_corpus(folder(train_csv='text,label\n"one,\ntwo ""x""\r\n",yes\nplain,no\n'))
    assert corpus.splits["train"].texts == ['one,\ntwo "x"\r\n', "plain"]
    assert labels_of(corpus) == ["yes", "no"]


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("first", ["", "\ufeff", "\n"])
def test_csv_may_be_separated_by_semicolons(folder, quote, first):
    rows = [("text", "label"), ("ja, gern, 1,5 kg", "x"), ("nein", "y")]
    lines = (";".join(f"{quote}{cell}{quote}" for cell in row) for row in rows)
    corpus = read_corpus(folder(train_csv=first + "\n".join(lines)))
    assert corpus.splits["train"].texts == ["ja, gern, 1,5 kg", "nein"]
    assert labels_of(corpus) == ["x", "y"]


def test_semicolons_in_texts_separate_nothing(folder):
    corpus = read_corpus(folder(train_csv="text,label\nyes; no,x\n"))
    assert corpus.splits["train"].texts == ["yes; no"]
    corpus = read_corpus(folder(train_csv="text\nyes; no\n"))
    assert corpus.splits["train"].texts == ["yes; no"]


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\x0c"])
def test_csv_rows_end_at_newlines_alone(folder, odd):
    corpus = read_corpus(folder(train_csv=f"text,label\none{odd}two,yes\r\n"))
    assert corpus.splits["train"].texts == [f"one{odd}two"]


def test_a_csv_field_may_be_huge(folder):
    corpus = read_corpus(folder(train_csv="text,label\n" + "x" * 200_000 + ",yes\n"))
    assert len(corpus.splits["train"].texts[0]) == 200_000


def test_jsonl_may_hold_anything_in_a_text(folder):
    records = [{"text": "one\n\ttwo \u2028", "label": 1}, {"label": 0, "text": ""}]
    content = "".join(json.dumps(record) + "\n" for record in records)
    corpus = read_corpus(folder(train_jsonl=content + "\n"))
    assert corpus.splits["train"].texts == ["one\n\ttwo \u2028", ""]
    assert labels_of(corpus) == ["1", "0"]


def test_a_jsonl_record_may_lack_its_label(folder):
    corpus = read_corpus(folder(train_jsonl='{"text": "a", "label": "x"}\n{"text": "b"}\n'))
    assert labels_of(corpus) == ["x", None]


def test_parquet_is_read(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"idx": [0, 1, 2], "sentence": ["a", "b\n", ""], "label": [1, 0, None]})
    parquet.write_table(table, tmp_path / "train.parquet")
    corpus = read_corpus(f"x={tmp_path}")
    assert list(corpus.splits["train"].texts) == ["a", "b\n", ""]
    assert labels_of(corpus) == ["1", "0", None]


def test_all_formats_give_the_same_corpus(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    rows = [("a text", "yes"), ("another", "no"), ("ümläut", "yes")]
    for name in ("tsv", "csv", "jsonl", "parquet"):
        (tmp_path / name).mkdir()
    (tmp_path / "tsv/train.tsv").write_text(
        "text\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in rows)
    )
    (tmp_path / "csv/train.csv").write_text("text,label\n" + "".join(f"{t},{y}\n" for t, y in rows))
    lines = (json.dumps({"text": t, "label": y}) + "\n" for t, y in rows)
    (tmp_path / "jsonl/train.jsonl").write_text("".join(lines))
    columns = {"text": [t for t, _ in rows], "label": [y for _, y in rows]}
    parquet.write_table(pa.table(columns), tmp_path / "parquet/train.parquet")
    read = [read_corpus(tmp_path / name) for name in ("tsv", "csv", "jsonl", "parquet")]
    assert (
        len({(c.classes, *c.splits["train"].texts, *c.splits["train"].labels) for c in read}) == 1
    )


# Columns and labels


@pytest.mark.parametrize("text", ["text", "sentence", "Text", " SENTENCE "])
@pytest.mark.parametrize("label", ["label", "labels", "class", "category", "target", "Label"])
def test_usual_columns_are_known(folder, text, label):
    corpus = read_corpus(folder(train_tsv=f"id\t{label}\t{text}\n1\tyes\ta b\n"))
    assert (corpus.splits["train"].texts, labels_of(corpus)) == (["a b"], ["yes"])


def test_columns_can_be_named(folder):
    data = folder(train_tsv="text\tlabel\treview\tstars\nx\ty\tgreat\t5\n")
    corpus = read_corpus(data, text_column="review", label_column="stars")
    assert (corpus.splits["train"].texts, labels_of(corpus)) == (["great"], ["5"])
    assert corpus.options == {"text-column": "review", "label-column": "stars"}


def test_number_labels_sort_as_numbers_and_names_as_names(folder):
    numbers = read_corpus(folder(train_tsv="text\tlabel\na\t10\nb\t2\nc\t1\n"))
    assert (numbers.classes, numbers.splits["train"].labels.tolist()) == (
        ("1", "2", "10"),
        [2, 1, 0],
    )
    names = read_corpus(folder(train_tsv="text\tlabel\na\tpos\nb\tneg\n"))
    assert names.classes == ("neg", "pos")


def test_whole_numbers_stored_as_floats_are_the_same_labels(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    # What pandas makes of an integer column with one label missing.
    table = pa.table({"text": ["a", "b", "c"], "label": [1.0, 10.0, float("nan")]})
    parquet.write_table(table, tmp_path / "train.parquet")
    (tmp_path / "test.tsv").write_text("text\tlabel\nd\t10\n")
    corpus = read_corpus(f"x={tmp_path}")
    assert corpus.classes == ("1", "10")
    assert labels_of(corpus) == ["1", "10", None]


def test_classes_are_in_the_same_order_in_every_process(folder, python):
    data = folder(train_tsv="text\tlabel\n" + "".join(f"{n}\t{'0' * n}7\n" for n in range(6)))
    code = "import lefcache, sys; print(lefcache.read_corpus(sys.argv[1]).classes)"
    assert len({python(code, data, PYTHONHASHSEED=seed) for seed in "123"}) == 1


def test_classes_are_those_of_all_splits(folder):
    data = folder(train_tsv="text\tlabel\na\tx\n", test_tsv="text\tlabel\nb\tw\n")
    corpus = read_corpus(data)
    assert corpus.classes == ("w", "x")
    assert (labels_of(corpus), labels_of(corpus, "test")) == (["x"], ["w"])
    assert any("test has labels that train lacks: w" in line for line in corpus.describe())


@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_label_is_none(folder, blank):
    corpus = read_corpus(folder(train_tsv=f"text\tlabel\na\tyes\nb\t{blank}\nc\tyes\n"))
    assert (corpus.classes, labels_of(corpus)) == (("yes",), ["yes", None, "yes"])
    assert "train: 1 row without a label (kept)" in corpus.describe()


@pytest.mark.parametrize("label", ["-1", ""])
def test_a_split_without_any_label_is_unlabelled(folder, label):
    data = folder(train_tsv="text\tlabel\na\tyes\n", test_tsv=f"text\tlabel\nb\t{label}\n")
    assert read_corpus(data).splits["test"].labels is None


def test_a_split_without_a_label_column_says_so(folder):
    corpus = read_corpus(folder(train_tsv="text\tstars\na\t5\n"))
    assert corpus.splits["train"].labels is None
    assert any("is it stars? name it with --label-column" in line for line in corpus.describe())


# Splits, names and sources


@pytest.mark.parametrize("stem", ["validation", "valid", "val", "dev", "Dev", "VALIDATION"])
def test_validation_has_many_spellings(folder, stem):
    data = folder(train_tsv="text\na\n", **{f"{stem}_tsv": "text\nb\n"})
    assert list(read_corpus(data).splits) == ["train", "validation"]


def test_splits_come_in_one_order(folder):
    files = dict.fromkeys(("test_tsv", "dev_tsv", "train_tsv"), "text\na\n")
    assert list(read_corpus(folder(**files)).splits) == ["train", "validation", "test"]


def test_splits_may_be_of_different_formats(folder):
    data = folder(train_csv="text\na\n", test_jsonl='{"text": "b"}')
    assert read_corpus(data).splits["test"].texts == ["b"]


def test_other_files_are_left_alone(folder):
    data = folder(train_tsv="text\na\n", README_md="x", training_tsv="y", train_txt="z")
    assert list(read_corpus(data).splits) == ["train"]


def test_a_single_file_is_a_corpus_with_a_train_split(folder):
    data = folder(reviews_tsv="text\na\n") / "reviews.tsv"
    corpus = read_corpus(data)
    assert (corpus.name, list(corpus.splits)) == ("reviews", ["train"])


def test_a_corpus_can_be_named(folder):
    corpus = read_corpus(f"mine={folder(train_tsv='text' + chr(10) + 'a')}")
    assert corpus.name == "mine"
    assert read_corpus(corpus.source).name == "mine"


def test_the_source_finds_the_texts_from_any_folder(folder, monkeypatch, tmp_path):
    data = folder(train_tsv="text\na\n")
    monkeypatch.chdir(data.parent)
    source = read_corpus("data").source
    monkeypatch.chdir("/")
    assert read_corpus(source).splits["train"].texts == ["a"]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("sst2", "sst2"),
        ("folder/SST2", "sst2"),
        ("folder/My  Data", "my-data"),
        ("name=any/where", "name"),
        ("folder/reviews.tsv", "reviews"),
        ("folder/v1.2", "v1.2"),
    ],
)
def test_a_corpus_is_named_after_its_folder(data, name):
    assert corpus_name(data) == name


def test_the_current_folder_has_a_name(monkeypatch, folder):
    monkeypatch.chdir(folder(train_tsv="text\na\n"))
    assert read_corpus(".").name == "data"


# What is odd is said, and kept


def test_duplicates_and_empty_texts_are_reported_and_kept(folder):
    corpus = read_corpus(folder(train_tsv="text\tlabel\na\tx\n \tx\na\ty\n\tx\n"))
    assert len(corpus.splits["train"]) == 4
    [line] = [line for line in corpus.describe() if line.startswith("train")]
    assert line == "train: 1 duplicate text, 2 empty texts (kept)"


def test_an_ordinary_corpus_has_nothing_odd(folder):
    assert read_corpus(folder(train_tsv="text\tlabel\na\tx\nb\ty\n")).describe() == []


def test_texts_that_are_also_in_train_are_reported_and_kept(folder):
    train, test = "text\tlabel\na\tx\nb\ty\n", "text\tlabel\nb\ty\nc\tx\nb\ty\n"
    corpus = read_corpus(folder(train_tsv=train, test_tsv=test, dev_tsv="text\tlabel\nd\tx\n"))
    assert corpus.describe() == [
        "test: 1 duplicate text, 2 texts that are also in train (kept)",
    ]


# Refusals


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no split: name the files train.*it holds nothing"),
        ({"other_tsv": "text\na\n"}, "it holds other.tsv"),
        ({"train_tsv": "text\na\n", "train_csv": "text\na\n"}, "are both the train split"),
        ({"dev_tsv": "text\na\n", "val_tsv": "text\na\n"}, "are both the validation split"),
        ({"train_tsv": ""}, "train.tsv is empty: it needs columns"),
        ({"train_csv": ""}, "train.csv is empty: it needs columns"),
        ({"train_csv": "\n\n"}, "train.csv is empty: it needs columns"),
        ({"train_jsonl": ""}, "train.jsonl is empty: it needs columns"),
        ({"train_xlsx": b"PK"}, r"train.xlsx is a spreadsheet: save its sheet as train\.csv"),
        ({"train_csv": "text\na\n", "test_XLS": b"\xd0\xcf"}, r"save its sheet as test\.csv"),
        ({"train_tsv": "text\tlabel\n"}, "the split train has no rows"),
        ({"train_csv": "text,label\n"}, "no rows"),
        (
            {"train_tsv": "words\tlabel\na\tx\n"},
            "no column 'text' or 'sentence': it has words, lab",
        ),
        ({"train_tsv": "text\tlabel\na\tx\nb\n"}, r"row 1 \(line 3\) has 1 columns where"),
        ({"train_tsv": "text\tlabel\na\tb\tx\n"}, r"row 0 \(line 2\) has 3 columns"),
        (
            {"train_csv": 'text,label\n"a\nb",x\na,b,x\n'},
            r"row 1 \(line 4\) has 3 columns where .* has 2; a text that holds ',' stands",
        ),
        (
            {"train_csv": 'text,label\na,x\n"a "b" c",x\n'},
            "line 3 is not well-formed csv.* write each quotation mark twice",
        ),
        ({"train_csv": 'text,label\n"a,x\n'}, "line 2 is not well-formed csv"),
        (
            {"train_tsv": b"text\nfine\nnot \xe9 fine\n"},
            r"line 3 is not UTF-8.*iconv -f ENCODING.* > .*utf8 && mv .*tsv.*right: cp1252 'é', ",
        ),
        (
            {"train_csv": "szöveg,osztály\nnő,a\n".encode("cp1250")},
            "cp1252 'nõ', cp1250 'nő', ",  # and not the first word, which these read alike
        ),
        (
            {"train_csv": "treść,ocena\n".encode("cp1250")},
            "line 1 is not UTF-8.* cp1252 'treœæ', cp1250 'treść', cp1251 'treњж', cp1254",
        ),
        ({"train_csv": "text\n".encode("utf-16")}, "train.csv is UTF-16.*iconv -f utf-16 -t utf-8"),
        ({"train_tsv": b"\xfe\xff\x00t"}, "train.tsv is UTF-16.*Excel: CSV UTF-8"),
        ({"train_jsonl": "{}".encode("utf-32")}, "train.jsonl is UTF-32.*iconv -f utf-32"),
        ({"train_csv": "text\tlabel\nyes, it is\tx\n"}, "tab-separated.*rename it to train.tsv"),
        ({"train_tsv": "text;label\nyes\tit\n"}, "semicolon-separated.*rename it to train.csv"),
        ({"train_jsonl": '{"text": "a"}\n{"text": \n'}, "line 2 is not JSON"),
        ({"train_jsonl": '{"text": "a"}\n["b"]\n'}, "line 2 is no JSON object"),
        (
            {"train_jsonl": '{"text": "a"}\n\n{"label": 1}\n'},
            "train.jsonl: line 3, column 'text', has nothing where a text should be",
        ),
        ({"train_jsonl": '{"text": 5}\n'}, "line 1, column 'text', has 5 where a text should be"),
        (
            {"train_jsonl": '{"text": "\\ud83d"}\n'},
            "line 1, column 'text', holds half of a surrogate pair",
        ),
        ({"train_jsonl": "[" * 100_000}, "line 1 is not JSON"),
        ({"train_parquet": b"PAR1 not really"}, "no readable parquet file"),
    ],
)
def test_files_that_cannot_be_used_are_refused(folder, files, message):
    with pytest.raises(CorpusError, match=message):
        read_corpus(folder(**files))


def test_a_column_is_found_however_its_accents_are_written(folder):
    data = folder(train_csv=unicodedata.normalize("NFD", "treść,ocena\na,x\n"))
    assert read_corpus(data, text_column="treść").splits["train"].texts == ["a"]


def test_a_misspelt_folder_is_told_what_it_is_near_to(folder):
    data = folder(train_csv="text\na\n")
    with pytest.raises(CorpusError, match=rf"no data at .*did you mean {data.name}\?"):
        read_corpus(data.with_name(data.name[:-1]))


def test_a_misspelt_file_is_no_data_set_of_the_hub(folder, monkeypatch):
    data = folder(train_csv="text\na\n")
    monkeypatch.chdir(data.parent)
    with pytest.raises(CorpusError, match=r"^no data at .*did you mean train.csv\?"):
        read_corpus(f"{data.name}/trian.csv")


def test_a_missing_column_names_the_flag(folder):
    data = folder(train_tsv="text\tlabel\na\tx\n")
    with pytest.raises(CorpusError, match=r"no column 'body'.*it has text, label.*--text-column"):
        read_corpus(data, text_column="body")
    with pytest.raises(CorpusError, match=r"no column 'stars'.*--label-column"):
        read_corpus(data, label_column="stars")


@pytest.mark.parametrize("data", ["/no/where", "nothing-here", "x=/no/where"])
def test_data_that_is_nowhere_is_refused(data):
    with pytest.raises(CorpusError, match=r"no data at .*NAME=FOLDER, or the bundled 'demo'"):
        read_corpus(data)


def test_a_file_of_another_kind_is_refused(folder):
    with pytest.raises(
        CorpusError, match=r"notes\.txt is not one of \.tsv, \.csv, \.jsonl, \.parquet"
    ):
        read_corpus(folder(notes_txt="text\na\n") / "notes.txt")


def test_a_folder_that_is_named_like_a_file_is_no_split(tmp_path):
    (tmp_path / "train.tsv").mkdir()
    with pytest.raises(CorpusError, match="no split"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "labels",
        "rows",
        "results",
        "ledger",
        "Upper",
        "a/b",
        "",
        ".x",
        "x.",
        "con",
        "nul.txt",
        "com1",
    ],
)
def test_a_name_that_a_cache_cannot_hold_is_refused(name):
    with pytest.raises(CorpusError, match=r"cannot name a corpus.*--data .*=FOLDER"):
        Corpus(name, (), {"train": Split(["a"])})


@pytest.mark.parametrize(
    ("name", "near"),
    [("Clientes", "clientes"), ("Reseñas 2026", "resenas-2026"), ("nul", "NAME"), ("評論", "NAME")],
)
def test_a_name_that_a_cache_cannot_hold_is_offered_the_nearest_one(write_tsv, name, near):
    folder = write_tsv("Data", train=[("a", "x")])
    with pytest.raises(CorpusError) as refused:
        read_corpus(f"{name}={folder}")
    assert str(refused.value).endswith(f"name it yourself with --data {near}={folder.resolve()}")


@pytest.mark.parametrize("spelling", ["validation", "valid", "val", "dev", "Dev"])
def test_a_split_may_be_spelt_as_files_are(spelling):
    assert split_name(spelling) == "validation"
    assert list(Corpus("c", (), {"train": Split(["a"]), spelling: Split(["b"])}).splits) == [
        "train",
        "validation",
    ]


@pytest.mark.parametrize("name", ["eval", "", "training"])
def test_a_split_of_another_name_is_refused(name):
    with pytest.raises(CorpusError, match=rf"no split '{name}': .*train, validation .* and test"):
        Corpus("c", (), {name: Split(["a"])})


def test_two_spellings_of_one_split_are_refused():
    with pytest.raises(CorpusError, match="two splits that mean validation"):
        Corpus("c", (), {"dev": Split(["a"]), "val": Split(["b"])})


def test_labels_must_be_as_many_as_texts():
    with pytest.raises(CorpusError, match="2 texts but 1 labels"):
        Split(["a", "b"], np.zeros(1, np.int32))


def test_a_text_is_identified_by_its_bytes():
    assert hash_text("a") != hash_text("a ")
    assert hash_text("é") != hash_text("e\u0301")  # the same to the eye
    assert Split(["a", "b", "a"]).hashes.tolist() == [hash_text(each) for each in "aba"]
    assert hash_text("") == 0xB4B2797457A0A6E4  # fixed for ever: caches are compared by it


# The bundled demo


@pytest.fixture(scope="module")
def demo():
    return read_corpus("demo")


def test_the_demo_is_a_corpus(demo):
    assert (demo.name, demo.source, len(demo.classes)) == ("demo", "demo", 6)
    assert list(demo.splits) == ["train", "validation", "test"]
    assert demo.describe() == []


def test_the_demo_has_no_sentence_twice(demo):
    texts = [text for split in demo.splits.values() for text in split.texts]
    assert len(set(texts)) == len(texts) >= 2500


def test_the_demo_is_what_its_script_writes():
    command = [sys.executable, ROOT / "data/make_demo.py", "--check"]
    assert subprocess.run(command, check=False).returncode == 0


def test_the_demo_is_not_solved_by_counting_words(demo):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train, test = demo.splits["train"], demo.splits["test"]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=200)
    model.fit(vectorizer.fit_transform(train.texts), train.labels)
    score = model.score(vectorizer.transform(test.texts), test.labels)
    assert 0.3 < score < 0.9


def test_a_corpus_is_shown_in_one_line_and_not_text_by_text(make_corpus):
    corpus = make_corpus(40)
    assert repr(corpus) == "<Corpus tiny: train 40 rows, 2 classes>"
    assert repr(corpus.splits["train"]) == "<Split 40 texts, labelled>"


def test_a_table_that_is_no_split_by_its_name_is_said_to_be_unread(write_tsv):
    folder = write_tsv("own", train=[("a", "x"), ("b", "y")], teste=[("c", "x")])
    assert any("not read: teste.tsv" in note for note in read_corpus(folder).describe())


# Files of a stranger

GOOD = {
    ".tsv": b"text\tlabel\na\tyes\nb\tno\n",
    ".csv": b'text,label\n"a, ""b""",yes\nb,no\n',
    ".jsonl": b'{"text": "a", "label": 1}\n{"text": "b", "label": null, "more": [1, {"x": 2}]}\n',
}
TEXTS = st.text() | st.sampled_from(["\x00", '"', "\r", '\\ud800"', "1e999", "[" * 9999, ESCAPES])
BYTES = st.binary(max_size=60) | TEXTS.map(lambda text: text.encode(errors="surrogatepass"))


@given(st.sampled_from([*GOOD]), st.data())
@many
def test_any_bytes_are_read_or_refused(tmp_path_factory, ending, data):
    file = tmp_path_factory.mktemp("fuzz") / f"train{ending}"
    lines = st.lists(BYTES, max_size=4).map(b"\n".join)
    file.write_bytes(data.draw(flipped(GOOD[ending]) | lines))
    _read(file)


@given(st.data())
@few
def test_any_bytes_of_parquet_are_read_or_refused(tmp_path_factory, data):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = tmp_path_factory.mktemp("fuzz") / "train.parquet"
    parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1, 0]}), file)
    file.write_bytes(data.draw(flipped(file.read_bytes())))
    _read(file)


RECORDS = st.dictionaries(st.sampled_from(["text", "label", "sentence"]) | TEXTS, anything)


@given(st.lists(RECORDS, min_size=1, max_size=3))
@many
def test_any_records_are_read_or_refused(tmp_path_factory, records):
    file = tmp_path_factory.mktemp("fuzz") / "train.jsonl"
    file.write_text("\n".join(json.dumps(record) for record in records))
    _read(file)


def _read(file):
    for how in ({}, {"text_column": "b"}, {"template": "{text} {label}"}):
        with only_our_errors():
            read_corpus(file, **how).describe()
        with only_our_errors():
            read_texts(file, Reading(**how))


def test_columns_of_parquet_of_any_kind_are_read_or_refused(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = pyarrow.array(["a", "b"])
    broken = pyarrow.Array.from_buffers(
        pyarrow.string(),
        2,
        [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")],
    )
    columns = {
        "invalid letters": broken,
        "bytes": pyarrow.array([b"a", b"\xff"]),
        "times without end": pyarrow.array([2**62, 1], pyarrow.timestamp("ms")),
        "lists": pyarrow.array([["a"], []]),
        "maps": pyarrow.array([[("a", 1)], []], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
    }
    for name, column in columns.items():
        for table in ({"text": column, "label": texts}, {"text": texts, "label": column}):
            file = tmp_path / "train.parquet"
            parquet.write_table(pyarrow.table(table), file)
            _read(file)
            assert name


def test_the_folders_of_a_parquet_file_are_no_columns(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path / "label=7"
    folder.mkdir()
    parquet.write_table(pyarrow.table({"text": ["a"]}), folder / "train.parquet")
    assert read_corpus(f"x={folder}").splits["train"].labels is None


def test_a_label_of_thousands_of_digits_is_a_name(folder):
    corpus = read_corpus(folder(train_csv=f"text,label\na,{'9' * 5000}\nb,7\n"))
    assert sorted(map(len, corpus.classes)) == [1, 5000]


def test_half_a_surrogate_pair_is_no_label(folder):
    with pytest.raises(CorpusError, match="surrogate"):
        read_corpus(folder(train_jsonl='{"text": "a", "label": "\\ud800"}'))


@pytest.mark.parametrize("data", [*CLIMBING, ESCAPES, "=", "x=" + "y" * 5000])
def test_a_place_that_is_none_is_refused(data):
    with pytest.raises(CorpusError):
        read_corpus(data if data not in (".", "/", "..", "../..", "~") else "x=nowhere")
