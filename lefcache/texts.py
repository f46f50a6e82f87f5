"""Texts to be labelled, from a file or as they come."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO, Any

from lefcache.columns import Reading, column_of, texts_of
from lefcache.errors import CorpusError
from lefcache.readers import READERS, SPREADSHEETS, read_lines, sheet_of

LINES = (".txt", "")  # endings of files whose every line is a text
CHUNK = 1 << 16  # bytes that are asked for at a time


def read_texts(
    file: Path,
    reading: Reading = Reading(),  # noqa: B008  frozen
    usual: Reading = Reading(),  # noqa: B008  frozen
) -> tuple[list[str], dict[str, Sequence[Any]]]:
    """The texts of a tsv, csv, jsonl or parquet file, or the lines of a txt; the other columns.

    A table's texts are in the column that `reading` names, or made of several by its template;
    where it says nothing, as `usual` (what a head was trained on) says, or in the column `text`
    or `sentence`, or in the only one. Raises CorpusError for a file that cannot be read or a
    column that is not there.
    """
    ending = file.suffix.lower()
    if ending in LINES:
        return read_lines(file), {}
    if ending not in (*READERS, *SPREADSHEETS):
        raise CorpusError(
            f"{file}: texts come from {', '.join(READERS)} or .txt, where each line is one: "
            "rename it after what is in it"
        )
    sheet = sheet_of(file)
    plain = column_of(sheet.header) or len(sheet.header) == 1
    if plain and usual.text_column not in sheet.header:  # another file may call it otherwise
        usual = replace(usual, text_column="")
    reading = reading.over(usual)
    named = reading.text_column or reading.template or column_of(sheet.header)
    if len(sheet.header) == 1 and not named:
        reading = replace(reading, text_column=sheet.header[0])
    used, texts = texts_of(sheet, reading)
    hidden = () if reading.template else used  # a column that is the text is not one beside it
    return texts, {name: sheet.cells(name) for name in sheet.header if name not in hidden}


def as_they_come(stream: IO[bytes], most: int) -> Iterator[list[str]]:
    """The lines that have come so far, up to `most` at a time: none waits for a full portion.

    They are read in a thread, while earlier ones are answered; never more than `most` ahead.
    Raises CorpusError for a line that is not UTF-8 and for a stream that cannot be read on.
    """
    queue: Queue[bytes | OSError | None] = Queue(most)

    def read() -> None:
        try:
            for line in _lines(stream):
                queue.put(line)
        except OSError as error:
            queue.put(error)
        else:
            queue.put(None)

    # A daemon, since nobody can wait for a line that may never come.
    Thread(target=read, daemon=True, name="lef-reader").start()
    number = 0
    for portion in _portions(queue, most):
        yield [_decoded(line, number + place) for place, line in enumerate(portion, 1)]
        number += len(portion)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines of a stream without their newline, read past its buffer.

    A buffer has a lock, and a process that ends while a thread waits in it is aborted.
    """
    raw = getattr(stream, "raw", stream)
    rest = bytearray()
    while chunk := raw.read(CHUNK):
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            yield from map(bytes, lines)
    if chunk is None:
        raise BlockingIOError("it is open, but does not wait for what is to come")
    if rest:
        yield bytes(rest)


def _portions(queue: Queue[bytes | OSError | None], most: int) -> Iterator[list[bytes]]:
    """What is in the queue, waiting only where nothing is, until it says that no more comes."""
    while True:
        portion: list[bytes] = []
        while not portion or (len(portion) < most and not queue.empty()):
            following = queue.get()
            if isinstance(following, bytes):
                portion.append(following)
                continue
            if portion:
                yield portion
            if following is not None:
                raise CorpusError(f"the input cannot be read: {following}") from following
            return
        yield portion


def _decoded(line: bytes, number: int) -> str:
    try:
        # Windows begins a file with a mark, and `type texts.txt |` hands it on.
        return line.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise CorpusError(f"line {number} of the input is not UTF-8; convert it first") from error
