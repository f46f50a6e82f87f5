import io
import os

import pytest

from lefcache.columns import Reading
from lefcache.corpus import read_corpus
from lefcache.errors import CorpusError
from lefcache.texts import as_they_come, read_texts


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.txt", "one\n\ntwo, three\r\n"),
        ("texts.tsv", "text\tlabel\none\ta\n\tb\ntwo, three\ta\n"),
        ("texts.csv", 'label,sentence\na,one\nb,\na,"two, three"\n'),
        ("texts.jsonl", '{"text": "one"}\n{"text": ""}\n{"text": "two, three"}\n'),
        ("alone.csv", 'review\none\n\n"two, three"\n'),
    ],
)
def test_texts_come_from_any_kind_of_file(name, content, tmp_path):
    file = tmp_path / name
    file.write_bytes(content.encode())
    assert read_texts(file)[0] == ["one", "", "two, three"]


def test_a_column_is_named_or_asked_for(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("title,body\nbad,it was bad\n")
    assert read_texts(file, Reading(text_column="body"))[0] == ["it was bad"]
    with pytest.raises(CorpusError, match=r"title, body; name one with --text-column"):
        read_texts(file)
    with pytest.raises(CorpusError, match="no column 'text2'"):
        read_texts(file, Reading(text_column="text2"))


def test_a_file_that_is_not_utf8_is_said_to_be_none(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_bytes(b"one\n\xe9t\xe9\n")
    with pytest.raises(CorpusError, match="line 2 is not UTF-8"):
        read_texts(file)


def test_lines_come_in_order_and_in_portions():
    lines = [f"line {number}" for number in range(100)]
    portions = list(as_they_come(io.BytesIO("\r\n".join(lines).encode()), 7))
    assert [line for portion in portions for line in portion] == lines
    assert all(1 <= len(portion) <= 7 for portion in portions)


def test_a_line_is_handed_on_before_the_next_one_is_written():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as end:
        portions = as_they_come(stream, 50)
        for line in ("one", "", "three"):
            end.write(f"{line}\n".encode())
            assert next(portions) == [line]
        end.close()
        assert list(portions) == []


def test_no_lines_are_no_portions():
    assert list(as_they_come(io.BytesIO(b""), 5)) == []


def test_a_line_that_is_not_utf8_is_named():
    with pytest.raises(CorpusError, match="line 3 of the input"):
        list(as_they_come(io.BytesIO(b"one\ntwo\n\xff\n"), 50))


def test_a_file_is_read_as_the_texts_that_a_head_was_trained_on(tmp_path):
    file = tmp_path / "news.csv"
    file.write_text("title,content,text\na cat,sat,on the mat\n")
    made = Reading(template="{title} {content}")
    assert read_texts(file, usual=made)[0] == ["a cat sat"]
    assert read_texts(file, usual=Reading(text_column="title", label_column="x"))[0] == ["a cat"]
    assert read_texts(file, Reading(text_column="content"), made)[0] == ["sat"]
    assert read_texts(file, Reading(template="{text}!"), made)[0] == ["on the mat!"]
    assert read_texts(file, usual=Reading(text_column="review"))[0] == ["on the mat"]
    file.write_text("title,body\na cat,sat\n")
    with pytest.raises(CorpusError, match="no column 'review': it has title, body"):
        read_texts(file, usual=Reading(text_column="review"))
    file.write_text("title\na cat\n")
    with pytest.raises(CorpusError, match="no column 'content', which the template"):
        read_texts(file, usual=made)


@pytest.mark.parametrize(
    ("name", "header", "mend"),
    [
        ("de.tsv", "text;label", "semicolon-separated.*de.csv"),
        ("de.csv", "text\tlabel", "tab-separated.*de.tsv"),
        ("de.tsv", "text,label", "comma-separated.*de.csv"),
    ],
)
def test_a_table_with_another_separator_is_no_column_of_texts(name, header, mend, tmp_path):
    file = tmp_path / name
    file.write_text(f"{header}\nwo ist mein Paket\n")
    for read in (read_texts, read_corpus):
        with pytest.raises(CorpusError, match=mend):
            read(file)


def test_a_spreadsheet_is_told_how_to_become_csv(tmp_path):
    with pytest.raises(CorpusError, match=r"is a spreadsheet: save its sheet as t\.csv"):
        read_texts(tmp_path / "t.xlsx")


@pytest.mark.parametrize("name", ["t.json", "t.CSV.gz", "t.md"])
def test_lines_are_texts_in_txt_files_only(name, tmp_path):
    (tmp_path / name).write_text('[{"text": "a"}]\n')
    with pytest.raises(CorpusError, match=r"\.jsonl.*\.txt"):
        read_texts(tmp_path / name)
    (tmp_path / "TEXTS.TXT").write_text("a\n")
    assert read_texts(tmp_path / "TEXTS.TXT")[0] == ["a"]


def test_a_line_longer_than_what_is_read_at_a_time_is_one_line():
    lines = ["x" * 200_000, "", "é" * 100_000]
    found = list(as_they_come(io.BytesIO("\n".join(lines).encode()), 50))
    assert [line for portion in found for line in portion] == lines


def test_an_input_that_breaks_off_is_no_end_of_it(tmp_path):
    class Broken(io.BytesIO):
        def read(self, *_):
            if not self.tell():
                return super().read(4)
            raise OSError(5, "Input/output error")

    portions = as_they_come(Broken(b"one\ntwo\n"), 50)
    assert next(portions) == ["one"]
    with pytest.raises(CorpusError, match="Input/output error"):
        next(portions)
    written = os.open(tmp_path / "written", os.O_WRONLY | os.O_CREAT)
    with os.fdopen(written, "wb") as stream, pytest.raises(CorpusError, match="cannot be read"):
        next(as_they_come(stream, 5))


def test_a_byte_order_mark_is_no_part_of_the_first_text():
    mark = "\ufeff"
    lines = f"{mark}one\n{mark}two\n".encode()
    assert list(as_they_come(io.BytesIO(lines), 1)) == [["one"], [f"{mark}two"]]


def test_the_columns_beside_the_texts_are_kept(tmp_path):
    file = tmp_path / "news.csv"
    file.write_text("id,title,text,label\n7,a cat,sat,no\n8,it,was,yes\n")
    texts, beside = read_texts(file)
    assert texts == ["sat", "was"]
    assert beside == {"id": ["7", "8"], "title": ["a cat", "it"], "label": ["no", "yes"]}
    made = read_texts(file, Reading(template="{title} {text}"))[1]
    assert list(made) == ["id", "title", "text", "label"]
    (tmp_path / "lines.txt").write_text("one\n")
    assert read_texts(tmp_path / "lines.txt") == (["one"], {})
