import io
import os

import pytest

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
    assert read_texts(file) == ["one", "", "two, three"]


def test_a_column_is_named_or_asked_for(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("title,body\nbad,it was bad\n")
    assert read_texts(file, "body") == ["it was bad"]
    with pytest.raises(CorpusError, match=r"title, body; name one with --text-column"):
        read_texts(file)
    with pytest.raises(CorpusError, match="no column 'text2'"):
        read_texts(file, "text2")


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
