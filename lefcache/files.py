"""Paths as a user writes them, and files that a reader sees whole or not at all."""

import json
import math
import os
import secrets
import stat
from pathlib import Path
from typing import Any, NoReturn

MOST_METADATA = 64 << 20  # bytes of one JSON document; ours have a few thousand


def is_own(path: Path, kind: int = stat.S_IFREG) -> bool:
    """Whether a plain file lies here, or with S_IFDIR a folder; links lead elsewhere, and are none.

    ValueError for a link, OSError for what cannot be looked at.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISLNK(mode):
        raise ValueError(f"{path} is a link, and may lead anywhere: put what it stands for there")
    return stat.S_IFMT(mode) == kind


def read_own(path: Path, most: int = MOST_METADATA) -> bytes:
    """The content of a plain file of at most so many bytes; FileNotFoundError where none lies.

    ValueError for anything else: a link, a pipe that never ends, a folder.
    """
    if not is_own(path):
        if path.exists():
            raise ValueError(f"{path} is no plain file")
        raise FileNotFoundError(2, os.strerror(2), str(path))
    if path.stat().st_size > most:
        raise ValueError(f"{path} is larger than {most >> 20} MB")
    return path.read_bytes()


def parse_json(content: bytes) -> Any:
    """A JSON document of anybody's; ValueError for whatever is none: NaN, 1e999, or too deep."""
    try:
        return json.loads(content, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _finite(written: str) -> float:
    number = float(written)
    return number if math.isfinite(number) else _no_number(written[:60])


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


REMOTE = "s3://"  # what the address of an object store begins with


class Url(str):
    """The address of a folder on an object store; `/` goes down from it as from a Path."""

    __slots__ = ()

    def __truediv__(self, name: object) -> "Url":
        return Url(f"{self.rstrip('/')}/{name}")


def path_of(written: str | Path) -> Path:
    """A path with `~` spelled out; one of a user that does not exist stays, to be found missing."""
    try:
        return Path(written).expanduser()
    except RuntimeError:
        return Path(written)


def lies_there(path: Path) -> bool:
    """Whether anything is at a path, which may be longer than any path of this system."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


DRAFT = ".tmp"  # what the name of a file ends in before it takes its place


def replace_file(path: Path, content: bytes, sync: bool = True) -> None:
    """Put a file in its place whole, on the disk and, but for `sync`, not only in memory."""
    # The random part lets two processes finish the same configuration at the same time.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if sync:
        sync_folder(path.parent)


def sync_file(file: Path) -> None:
    """Put a file's content on the disk; one that was replaced or deleted since has none."""
    try:
        opened = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_folder(folder: Path) -> None:
    """Put a new name on the disk too; Windows opens no folders, and writes names down itself."""
    if hasattr(os, "O_DIRECTORY"):
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
