"""Seals: a checksum that metadata carries with it, so that one changed byte of it is noticed.

It is an attribute of each group and array, which any reader of the format sees and may ignore.
Beside it stands the place that the metadata was written for, so that metadata which is whole, but
another's, is noticed too.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import google_crc32c

from lefcache.errors import DamagedError
from lefcache.wording import shown

SEAL = "seal"
PLACE = "place"  # a path in the cache, the same in every format
_KIND = "crc32c:"
_BLANK = f"{_KIND}00000000"  # what stands in the seal's place while it is computed
_KEY = f'"{SEAL}": "'.encode()


@dataclass(frozen=True)
class Seal:
    """What the metadata of a node tells of itself."""

    path: str  # where it lies
    holds: bool | None = None  # whether it is what was written; None for a node without a seal
    place: str | None = None  # where it was to lie; None for a node from before this was kept

    @property
    def astray(self) -> bool:
        """Whether this is the metadata of another node."""
        return bool(self.holds) and self.place not in (None, self.path)

    @property
    def broken(self) -> bool:
        """Whether this is not, or not here, what was written."""
        return self.holds is False or self.astray


def seal_of(content: bytes) -> str:
    """The seal of some bytes."""
    return f"{_KIND}{google_crc32c.value(content):08x}"


def values_of(attributes: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The attributes that somebody gave the node at a path; DamagedError for another node's."""
    check_place(attributes.get(PLACE), path)
    return _values(attributes)


def _values(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in (SEAL, PLACE)}


def check_place(place: object, path: str) -> None:
    """Refuse the metadata of another node, of which each value would be taken for this one's."""
    if isinstance(place, str) and place != path:
        other = shown(place, 200) or "a whole cache"
        raise DamagedError(
            f"{path or 'the cache'}: its metadata is that of {other}: move that back"
        )


def sealed_json(node: Mapping[str, Any], place: str) -> bytes:
    """The document of a Zarr group or array at a place, its seal the first of its attributes."""
    # Sorted, so that equal attributes have equal seals.
    attrs = {SEAL: _BLANK, PLACE: place, **dict(sorted(_values(node["attributes"]).items()))}
    content = json.dumps({**node, "attributes": attrs}, indent=2).encode()
    return _with(content, _BLANK, seal_of(content))


def seal_in(content: bytes, path: str) -> Seal:
    """The seal of such a document, which lies at a path.

    Raises what a document that is none raises.
    """
    attributes = json.loads(content).get("attributes", {})
    seal, place = attributes.get(SEAL), attributes.get(PLACE)
    if seal is None:  # unless it is there, among what is called attributes no longer
        return Seal(path, False if _KEY + _KIND.encode() in content else None)
    holds = seal == seal_of(_with(content, str(seal), _BLANK))
    return Seal(path, holds, None if place is None else str(place))


def mended(content: bytes) -> bytes | None:
    """The document with the one bit turned back that was flipped; None where it was not just one.

    It takes one pass: CRC-32C is linear, so what the checksum differs by tells which bit it was.
    No two bits of what is shorter than 256 MB make the same difference.
    """
    found = {tried for tried in _mended(content) if _holds(tried)}
    return found.pop() if len(found) == 1 else None


def _mended(content: bytes) -> Iterator[bytes]:
    """The document as it was if the bit is one of the seal's name, of the seal, or of the rest."""
    for place in range(8 * len(_KEY)):
        if _flipped(_KEY, place) in content:
            yield content.replace(_flipped(_KEY, place), _KEY, 1)
    blank, seal = _unsealed(content)
    right = seal_of(blank).encode()
    if int.from_bytes(seal) ^ int.from_bytes(right) in _ONE_BIT:
        yield content.replace(_KEY + seal, _KEY + right, 1)
    with suppress(ValueError):  # of a seal that is no number
        difference = _number(seal) ^ _number(right)
        if (found := _place_of(difference, len(content))) is not None:
            yield _flipped(content, found)


_ONE_BIT = {1 << place for place in range(8 * len(_BLANK))}


def _place_of(difference: int, length: int) -> int | None:
    """The bit of so many bytes which, flipped, changes their CRC-32C by so much; None if none does.

    The change that a bit of the last byte makes is taken on by each byte that follows it; so that
    is undone byte by byte, until the change is one that a bit makes at once.
    """
    table = _changes()
    at_once = {table[1 << bit]: bit for bit in range(8)}
    undone = {change >> 24: byte for byte, change in enumerate(table)}
    for byte in reversed(range(length)):
        if difference in at_once:
            return 8 * byte + at_once[difference]
        last = undone[difference >> 24]
        difference = (difference ^ table[last]) << 8 | last
    return None


@cache
def _changes() -> list[int]:
    """By how much a byte changes the checksum of what it is the end of, beside a byte of zeros."""
    return [google_crc32c.value(bytes([byte])) ^ google_crc32c.value(b"\0") for byte in range(256)]


def _holds(content: bytes) -> bool:
    """Whether the seal holds, found without reading the document."""
    blank, seal = _unsealed(content)
    return seal == seal_of(blank).encode()


def _unsealed(content: bytes) -> tuple[bytes, bytes]:
    """What the seal is the checksum of, and the seal; an empty one where there is none."""
    before, key, rest = content.partition(_KEY)
    if not key:
        return content, b""
    return before + key + _BLANK.encode() + rest[len(_BLANK) :], rest[: len(_BLANK)]


def _number(seal: bytes) -> int:
    return int.from_bytes(bytes.fromhex(seal[len(_KIND) :].decode()))


def _flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def _with(content: bytes, old: str, new: str) -> bytes:
    return content.replace(f'"{SEAL}": "{old}"'.encode(), f'"{SEAL}": "{new}"'.encode(), 1)
