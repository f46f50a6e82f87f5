"""Paths as a user writes them, and files that a reader sees whole or not at all."""

import os
import secrets
from pathlib import Path

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
