"""Seals: a checksum that metadata carries with it, so that one changed byte of it is noticed.

It is an attribute of each group and array, which any reader of the format sees and may ignore.
"""

import json
from collections.abc import Mapping
from typing import Any

import google_crc32c

SEAL = "seal"
_BLANK = "crc32c:00000000"  # what stands in the seal's place while it is computed


def seal_of(content: bytes) -> str:
    """The seal of some bytes."""
    return f"crc32c:{google_crc32c.value(content):08x}"


def sealed_json(node: Mapping[str, Any]) -> bytes:
    """The document of a Zarr group or array, its seal the first of its attributes."""
    # Sorted, so that equal attributes have equal seals.
    attrs = {name: value for name, value in sorted(node["attributes"].items()) if name != SEAL}
    content = json.dumps({**node, "attributes": {SEAL: _BLANK, **attrs}}, indent=2).encode()
    return _with(content, _BLANK, seal_of(content))


def is_whole(content: bytes) -> bool | None:
    """Whether such a document is the one that was written; None where it carries no seal.

    Raises what a document that is none raises.
    """
    seal = json.loads(content).get("attributes", {}).get(SEAL)
    if seal is None:  # unless it is there, among what is called attributes no longer
        return False if f'"{SEAL}": "crc32c:'.encode() in content else None
    return bool(seal == seal_of(_with(content, str(seal), _BLANK)))


def mended(content: bytes) -> bytes | None:
    """The document with the one bit turned back that was flipped; None where it was not just one.

    No other single bit can give the same checksum: CRC-32C tells any two of them apart in what is
    shorter than 256 MB.
    """
    for place in range(8 * len(content)):
        tried = bytearray(content)
        tried[place // 8] ^= 1 << place % 8
        if _holds(bytes(tried)):
            return bytes(tried)
    return None


def _holds(content: bytes) -> bool:
    """Whether the seal holds, found without reading the document."""
    before, key, rest = content.partition(f'"{SEAL}": "'.encode())
    seal, after = rest[: len(_BLANK)], rest[len(_BLANK) :]
    return bool(key) and seal == seal_of(before + key + _BLANK.encode() + after).encode()


def _with(content: bytes, old: str, new: str) -> bytes:
    return content.replace(f'"{SEAL}": "{old}"'.encode(), f'"{SEAL}": "{new}"'.encode(), 1)
