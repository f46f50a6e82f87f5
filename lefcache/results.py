"""What came out: one JSON file for each finished configuration, predictions beside it.

`results/<corpus>/<id>.json` is written last, so that a result is done when it exists.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.errors import CorpusError, DamagedError, StorageError
from lefcache.feature import NAME, NAMES
from lefcache.files import replace_file


@dataclass(frozen=True)
class Result:
    """One finished configuration as it lies on disk.

    `payload` is what was saved; `path` is its JSON file; the predictions are read when asked for.
    """

    path: Path
    payload: dict[str, Any]
    digest: str | None

    @property
    def id(self) -> str:
        """The configuration's `result_id`."""
        return self.path.stem

    def predictions(self) -> NDArray[Any] | None:
        """The array that was saved with it, None for none; DamagedError where it has changed."""
        if self.digest is None:
            return None
        beside = self.path.with_suffix(".npy")
        try:
            raw = beside.read_bytes()
        except FileNotFoundError:
            raise DamagedError(f"{beside} is missing: {_mend(self.path)}") from None
        if _digest(raw, 16) != self.digest:
            raise DamagedError(f"{beside} has changed since it was written: {_mend(self.path)}")
        array: NDArray[Any] = np.load(io.BytesIO(raw), allow_pickle=False)
        return array


def result_id(payload: Mapping[str, Any]) -> str:
    """The name of a configuration: 16 hex characters that any changed value changes."""
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _digest(canonical.encode(), 8)


def save(
    results: Path,
    corpus: str,
    id: str,
    payload: Mapping[str, Any],
    predictions: NDArray[Any] | None = None,
) -> Path:
    """Write a result so that a reader sees all of it or nothing; returns its JSON file.

    Raises StorageError where the folder cannot be written.
    """
    path = _place(results, corpus, id)
    digest = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if predictions is not None:
            buffer = io.BytesIO()
            np.save(buffer, predictions, allow_pickle=False)
            digest = _digest(buffer.getvalue(), 16)
            replace_file(path.with_suffix(".npy"), buffer.getvalue())
        document = {"id": id, "predictions": digest, "payload": payload}
        replace_file(path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


def find(results: Path, corpus: str, id: str) -> Result | None:
    """The finished result of this name, or None while it has yet to be computed."""
    path = _place(results, corpus, id)
    return load(path) if path.exists() else None


def load(path: Path) -> Result:
    """Read one JSON file that `save` wrote; DamagedError, naming it, where that fails."""
    try:
        document = json.loads(path.read_bytes())
        digest, payload = document["predictions"], document["payload"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{path} is no result: {_mend(path)}") from error
    if not isinstance(payload, dict) or not isinstance(digest, str | None):
        raise DamagedError(f"{path} is no result: {_mend(path)}")
    return Result(path, payload, digest)


def list(results: Path, corpus: str | None = None) -> Iterator[Result]:
    """Every finished result, of one corpus or of all, by corpus and id."""
    for path in sorted(results.glob(f"{corpus or '*'}/*.json")):
        yield load(path)


def _place(results: Path, corpus: str, id: str) -> Path:
    if not NAME.fullmatch(corpus):
        raise CorpusError(f"'{corpus}' cannot name a folder ({NAMES})")
    return results / corpus / f"{id}.json"


def _digest(raw: bytes, size: int) -> str:
    return hashlib.blake2b(raw, digest_size=size).hexdigest()


def _mend(path: Path) -> str:
    return f"delete {path} and run its configuration again"
