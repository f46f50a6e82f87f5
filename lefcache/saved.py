"""Where a saved head lies: known without torch, so that a wrong folder is said at once."""

import re
from pathlib import Path

from lefcache.errors import StorageError
from lefcache.files import path_of

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
