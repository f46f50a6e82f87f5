"""Where a saved head lies: known without torch, so that a wrong folder is said at once."""

from pathlib import Path

from lefcache.errors import StorageError
from lefcache.files import path_of

CARD = "head.json"


def read_card(folder: Path) -> bytes:
    """The bytes of a saved head's card; StorageError where there is none."""
    try:
        return (path_of(folder) / CARD).read_bytes()
    except OSError as error:
        raise no_head(folder, error) from error


def no_head(folder: Path, error: OSError) -> StorageError:
    """What to say of a folder in which a file of a head is missing or cannot be read."""
    return StorageError(
        f"no saved head in {folder} ({error.strerror}: {error.filename}): "
        "`lef fuse --save FOLDER` writes one"
    )
