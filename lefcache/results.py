"""What came out: one JSON file for each finished configuration, predictions beside it.

`results/<corpus>/<id>.json` is written last, so that a result is done when it exists. The labels
that it was scored by lie once for all results of the same ones, in `truth-<digest>.npy`.
"""

import errno
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.errors import CorpusError, DamagedError, ResultError, StorageError
from lefcache.feature import NAME, NAMES
from lefcache.files import is_own, parse_json, path_of, read_own, replace_file
from lefcache.wording import shown

DIGEST = re.compile("[0-9a-f]{32}")
MOST_PREDICTIONS = 16 << 30  # bytes
# What a header of .npy that is none ends in.
NO_ARRAY = (ValueError, TypeError, LookupError, SyntaxError, TokenError, MemoryError, RuntimeError)


@dataclass(frozen=True)
class Result:
    """One finished configuration as it lies on disk.

    `payload` is what was saved; `path` is its JSON file; the predictions are read when asked for.
    """

    path: Path
    payload: dict[str, Any]
    digest: str | None
    truth_digest: str | None = None

    @property
    def id(self) -> str:
        """The configuration's `result_id`."""
        return self.path.stem

    @property
    def corpus(self) -> str:
        """The corpus that it is about."""
        return self.path.parent.name

    @property
    def kind(self) -> str:
        """What was done: sweep, fuse, pairs and so on; nothing of what others have put there."""
        return str(self.payload.get("key", {}).get("kind", ""))

    def predictions(self) -> NDArray[Any] | None:
        """The array that was saved with it, None for none; DamagedError where it has changed."""
        return self._array(self.path.with_suffix(".npy"), self.digest)

    def truth(self) -> NDArray[np.int32] | None:
        """The labels (N,) of the rows that were predicted, -1 for none; None for no predictions."""
        return self._array(self.path.with_name(f"truth-{self.truth_digest}.npy"), self.truth_digest)

    def _array(self, beside: Path, digest: str | None) -> NDArray[Any] | None:
        if digest is None:
            return None
        try:
            raw = read_own(beside, MOST_PREDICTIONS)
        except FileNotFoundError:
            raise DamagedError(f"{beside} is missing: {_mend(self.path)}") from None
        except (OSError, ValueError) as error:
            raise DamagedError(f"{beside} cannot be read ({shown(str(error), 200)})") from error
        if _digest(raw, 16) != digest:
            raise DamagedError(f"{beside} has changed since it was written: {_mend(self.path)}")
        try:
            return _array_of(raw)
        except NO_ARRAY as error:
            raise DamagedError(
                f"{beside} is no array ({shown(str(error), 200)}): {_mend(self.path)}"
            ) from error


def result_id(payload: Mapping[str, Any]) -> str:
    """The name of a configuration: 16 hex characters that any changed value changes."""
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _digest(canonical.encode(), 8)


def fingerprint(
    texts: NDArray[np.uint64], labels: NDArray[np.int32], classes: Iterable[str]
) -> dict[str, Any]:
    """What tells a split from others: how many rows, and a hash of its texts and of its labels.

    The numbers of labels mean nothing without their classes, so that these are in the second.
    """
    named = repr(tuple(classes)).encode() + np.ascontiguousarray(labels, "<i4").tobytes()
    return {
        "rows": len(texts),
        "texts": _digest(np.ascontiguousarray(texts, "<u8").tobytes(), 8),
        "labels": _digest(named, 8),
    }


def save(
    results: Path,
    corpus: str,
    id: str,
    payload: Mapping[str, Any],
    predictions: NDArray[Any] | None = None,
    truth: NDArray[np.int32] | None = None,
) -> Path:
    """Write a result so that a reader sees all of it or nothing; returns its JSON file.

    `truth` (N,) are the labels that the predictions were scored by. Raises StorageError where the
    folder cannot be written.
    """
    path = _place(results, corpus, id)
    digest = truth_digest = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if predictions is not None:
            raw, digest = _bytes_of(predictions)
            replace_file(path.with_suffix(".npy"), raw)
        if truth is not None:
            raw, truth_digest = _bytes_of(truth)
            beside = path.with_name(f"truth-{truth_digest}.npy")
            if not (beside.exists() and beside.read_bytes() == raw):
                replace_file(beside, raw)
        document = {"id": id, "predictions": digest, "truth": truth_digest, "payload": payload}
        replace_file(path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}: {_way_out(error)}") from error
    return path


def find(results: Path, corpus: str, id: str) -> Result | None:
    """The finished result of this name, or None while it has yet to be computed."""
    path = _place(results, corpus, id)
    return load(path) if path.exists() else None


def load(path: Path) -> Result:
    """Read one JSON file that `save` wrote; DamagedError, naming it, where that fails."""
    try:
        content = read_own(path)
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read ({shown(str(error), 200)})") from error
    try:
        document = parse_json(content)
        digest, payload = document["predictions"], document["payload"]
        truth = document.get("truth")  # of a result of before there is none
        if not (isinstance(payload, dict) and _is_digest(digest) and _is_digest(truth)):
            raise ValueError("it has no payload, or digests that are none")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is no result: {_mend(path)}") from error
    return Result(path, payload, digest, truth)


def look_up(results: Path, name: str) -> Result:
    """The result of an id, of the beginning of one that no other has, or of a path.

    Raises ResultError, which says what there is, where that is none or several.
    """
    if name.endswith(".json") or "/" in name:
        if not (path := path_of(name)).is_file():
            raise ResultError(f"no result at {path}: `lef results` lists those of a cache")
        return load(path)
    found = sorted(results.glob("*/*.json")) if results.is_dir() else []
    matches = [path for path in found if path.stem.startswith(name)] if name else []
    if len(matches) == 1:
        return load(matches[0])
    if matches:
        several = ", ".join(path.stem for path in matches[:4])
        raise ResultError(f"'{name}' begins several results ({several}): write more of one")
    raise ResultError(f"no result '{name}' among {len(found):,} in {results}: see `lef results`")


def list(results: Path, corpus: str | None = None) -> Iterator[Result]:
    """Every finished result, of one corpus or of all, by corpus and id."""
    for path in sorted(results.glob(f"{corpus or '*'}/*.json")):
        yield load(path)


def _place(results: Path, corpus: str, id: str) -> Path:
    if not NAME.fullmatch(corpus):
        raise CorpusError(f"'{corpus}' cannot name a folder ({NAMES})")
    for folder in (results, results / corpus):
        try:
            is_own(folder)
        except ValueError as error:
            raise DamagedError(str(error)) from error
    return results / corpus / f"{id}.json"


def _is_digest(value: object) -> bool:
    return value is None or (isinstance(value, str) and DIGEST.fullmatch(value) is not None)


def _array_of(raw: bytes) -> NDArray[Any]:
    """The numbers of a file that `_bytes_of` made; one of NO_ARRAY for anything else.

    numpy would make room for whatever shape the header says, before it has seen any numbers.
    """
    stream = io.BytesIO(raw)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("another version of .npy")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    start = stream.tell()
    if dtype.kind not in "iuf" or math.prod(shape) * dtype.itemsize != len(raw) - start:
        raise ValueError(f"{dtype} of the shape {shape}")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape, order="F" if fortran else "C")


def _bytes_of(array: NDArray[Any]) -> tuple[bytes, str]:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue(), _digest(buffer.getvalue(), 16)


def _digest(raw: bytes, size: int) -> str:
    return hashlib.blake2b(raw, digest_size=size).hexdigest()


def _way_out(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space"
    return "copy the cache to a folder that can be written, and name that with --cache"


def _mend(path: Path) -> str:
    return f"delete {path} and run its configuration again"
