"""Where a saved head lies: known without torch, so that a wrong folder is said at once."""

import re
from pathlib import Path

from lefcache.errors import DamagedError, StorageError
from lefcache.files import MOST_METADATA, path_of, read_own

CARD = "head.json"
MODEL_CARD = "README.md"  # the same for people, and more

DIGEST = re.compile("sha256:([0-9a-f]{16})[0-9a-f]{48}")


def weights_file(digest: str) -> str:
    """The name of the file of weights with this digest; ValueError for what is none."""
    match = DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError("it names no weights")
    return f"head-{match[1]}.safetensors"


def read_card(folder: Path) -> bytes:
    """The bytes of a saved head's card; raises what `read_file` does."""
    return read_file(path_of(folder) / CARD)


def read_file(file: Path, most: int = MOST_METADATA) -> bytes:
    """The bytes of a file of a head; StorageError where there is none, DamagedError for a link.

    Only in the folder of the hub's downloads files are links to those beside it.
    """
    blobs = file.parent.resolve().parents[1] / "blobs"
    if file.is_symlink() and file.parent.parent.name == "snapshots":
        kept = file.resolve()
        file = kept if kept.parent == blobs else file
    try:
        return read_own(file, most)
    except OSError as error:
        raise no_head(file.parent, error) from error
    except ValueError as error:
        raise DamagedError(f"{error}: copy the head with its files, as cp -rL does") from error


def no_head(folder: Path, error: OSError) -> StorageError:
    """What to say of a folder in which a file of a head is missing or cannot be read."""
    return StorageError(
        f"no saved head in {folder} ({error.strerror}: {error.filename}): "
        "`lef fuse --save FOLDER` writes one"
    )
