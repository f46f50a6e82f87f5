"""Texts to be labelled, from a file or as they come."""

from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import IO

from lefcache.columns import Reading, texts_of
from lefcache.errors import CorpusError
from lefcache.readers import READERS, read_lines, sheet_of


def read_texts(file: Path, text_column: str = "", template: str = "") -> list[str]:
    """The texts of a tsv, csv, jsonl or parquet file, or the lines of any other text file.

    A table's texts are in the column `text` or `sentence` or in its only one, or are made of
    several by a template. Raises CorpusError for a file that cannot be read or a column that is
    not there.
    """
    if file.suffix.lower() not in READERS:
        return read_lines(file)
    sheet = sheet_of(file)
    if len(sheet.header) == 1 and not (text_column or template):
        text_column = sheet.header[0]
    return texts_of(sheet, Reading(text_column=text_column, template=template))[1]


def as_they_come(stream: IO[bytes], most: int) -> Iterator[list[str]]:
    """The lines that have come so far, up to `most` at a time: none waits for a full portion.

    They are read in a thread, while earlier ones are answered; never more than `most` ahead.
    Raises CorpusError for a line that is not UTF-8.
    """
    queue: Queue[bytes | None] = Queue(most)

    def read() -> None:
        try:
            for line in stream:
                queue.put(line)
        finally:
            queue.put(None)

    # A daemon, since nobody can wait for a line that may never come.
    Thread(target=read, daemon=True, name="lef-reader").start()
    number = 0
    for portion in _portions(queue, most):
        yield [_decoded(line, number + place) for place, line in enumerate(portion, 1)]
        number += len(portion)


def _portions(queue: Queue[bytes | None], most: int) -> Iterator[list[bytes]]:
    """What is in the queue, waiting only where nothing is, until None says that no more comes."""
    while (line := queue.get()) is not None:
        portion = [line]
        while len(portion) < most and not queue.empty():
            following = queue.get()
            if following is None:
                yield portion
                return
            portion.append(following)
        yield portion


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise CorpusError(f"line {number} of the input is not UTF-8; convert it first") from error
