"""README.md beside a saved head: ours is kept up to date, one of somebody's own is left alone."""

import hashlib
import re
from pathlib import Path

from lefcache.files import replace_file
from lefcache.saved import MODEL_CARD
from lefcache.train.card import Card
from lefcache.train.modelcard import model_card

SEAL = "\n<!-- written by lefcache; sha256:{} -->\n"
SEALED = re.compile(r"(.*)\n<!-- written by lefcache; sha256:([0-9a-f]{64}) -->\n", re.S)


def drop_model_card(folder: Path) -> None:
    """Take away the card of the head that is about to be replaced; one's own README.md stays."""
    if not has_own_card(folder):
        (folder / MODEL_CARD).unlink(missing_ok=True)


def write_model_card(folder: Path, card: Card) -> None:
    """Write README.md beside a head, if no other one is there."""
    if not has_own_card(folder):
        replace_file(folder / MODEL_CARD, sealed(model_card(card)).encode())


def has_own_card(folder: Path) -> bool:
    """Whether README.md in a folder is somebody's own work."""
    try:
        return not is_sealed((folder / MODEL_CARD).read_bytes())
    except FileNotFoundError:
        return False
    except OSError:  # a folder of that name, for one
        return True


def sealed(text: str) -> str:
    """A card that says at its end, out of sight, that nobody has changed it."""
    return text + SEAL.format(hashlib.sha256(text.encode()).hexdigest())


def is_sealed(content: bytes) -> bool:
    """Whether a card is as we wrote it: one that was changed since is somebody's work."""
    match = SEALED.fullmatch(content.decode(errors="replace"))
    return match is not None and sealed(match[1]).encode() == content
