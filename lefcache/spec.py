"""Everything about an extraction that changes its numbers."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import takewhile
from typing import Any

from lefcache.errors import MismatchError
from lefcache.settings import setting
from lefcache.wording import shown, some

# Raised whenever our own arithmetic (pooling, hooks, batching) changes the numbers.
NUMERICS = 1
STORED = ("float16", "bfloat16", "float32")  # what the numbers of an array may be rounded to
FORMATS = ("zarr", "hdf5")  # what the files of a split may be
ARRAY = re.compile("([a-z_]+)/(last|0|[1-9][0-9]{0,5})")  # a number has one spelling
MOST_SHOWN = 400  # characters of a setting in a message
SPEC_DIGEST = "spec_digest"  # of a split: what it was made with, which its model says in full
IMPORTED = "imported"  # in the place of the weights: vectors that were made elsewhere


@dataclass(frozen=True)
class Spec:
    """The identity of an extraction: two caches with equal Specs hold the same numbers.

    Library versions, device and threads are provenance: recorded beside it, never compared.
    """

    weights: str = ""
    tokenizer: str = ""
    prompt: str = setting("", "Text put before every text; pooled with it.")
    instruction: str = setting("", "Text put before every text; attended to, not pooled.")
    chat_template: str = setting(
        "",
        "Read each text as a chat message, in the tokenizer's own template (no value), or in one "
        "of yours with {text} in it.",
        bare="own",
    )
    max_length: int = setting(512, "Tokens at which a text is cut.")
    truncation_side: str = setting(
        "right", "Which end of a long text is cut off.", choices=("right", "left")
    )
    long: str = setting(
        "truncate",
        "A text longer than that: cut it, or pool it over windows of that length.",
        choices=("truncate", "windows"),
    )
    dtype: str = setting(
        "auto",
        "Arithmetic of the model; auto: bfloat16 where it is fast, else float32.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    attention: str = setting(
        "auto",
        "Attention implementation, as transformers names it; packed: our own, which reads the "
        "texts of a batch end to end, without padding (a few percent at most; not measured yet).",
    )
    numerics: int = NUMERICS

    @classmethod
    def settings(cls) -> tuple[str, ...]:
        """The fields that a user may set; the others are found out."""
        return tuple(f.name for f in fields(cls) if f.metadata)

    @classmethod
    def of_imported(cls, note: str = "") -> "Spec":
        """What is known of vectors that were made elsewhere: what their owner says, if anything."""
        weights = f"{IMPORTED}: {note}" if note else IMPORTED
        return cls(
            weights,
            max_length=0,
            truncation_side="",
            long="",
            dtype="",
            attention="",
            numerics=0,
        )

    @property
    def imported(self) -> bool:
        """Whether the vectors were made elsewhere: no text can be turned into one here."""
        return self.weights.partition(":")[0] == IMPORTED

    @property
    def note(self) -> str:
        """What the owner of imported vectors says that they were made with."""
        return self.weights.partition(": ")[2] if self.imported else ""

    @property
    def digest(self) -> str:
        """SHA-256 of the fields, by which what was made with this Spec knows it again.

        A field that says what it would if it were not there does not count, so that one which a
        later version adds changes no digest of before. `numerics`, whose default moves, counts
        always.
        """
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {f.name for f in fields(self) if f.name == "numerics" or said[f.name] != f.default}
        told = json.dumps({name: said[name] for name in sorted(kept)})
        return hashlib.sha256(told.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Spec":
        """Read what `to_json` wrote; a field this version does not know is refused."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise MismatchError(
                f"written by a newer lefcache, which knows {shown(some(unknown), 200)}: "
                "upgrade lefcache"
            )
        wrong = [
            f.name
            for f in fields(cls)
            if f.name in values and type(values[f.name]) is not type(f.default)
        ]
        if wrong:
            raise MismatchError(f"no settings of an extraction: {', '.join(wrong)} of another kind")
        return cls(**values)

    def difference(self, other: "Spec", place: str = "cache") -> list[str]:
        """One line for each field in which `other` differs, `name: ours, not theirs`."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return [
            f"{name}: {_from_where_they_part(mine, theirs)} in the {place}, "
            f"{_from_where_they_part(theirs, mine)} now"
            for name, (mine, theirs) in pairs.items()
            if mine != theirs
        ]


def _from_where_they_part(one: Any, other: Any) -> str:
    """A value as a message shows it; of a long text, from shortly before it differs on."""
    if not isinstance(one, str) or len(one) <= MOST_SHOWN:
        return shown(repr(one), MOST_SHOWN + 2)
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(one, str(other), strict=False))
    start = max(sum(1 for _ in alike) - 20, 0)
    return ("..." if start else "") + shown(repr(one[start:]), MOST_SHOWN)


@dataclass(frozen=True)
class Origin:
    """How a feature's vectors are made again from a text; beside the Spec, which says the rest.

    `arrays` are the stored ones, such as `mean/24`, that the feature is the mean of (most often
    just one), `dtypes` what their numbers were rounded to. A model without a `source` came as
    vectors, which no text can make again.
    """

    model: str
    arrays: tuple[str, ...]
    dtypes: tuple[str, ...]
    source: str | None = None  # short name, hub id or folder
    revision: str | None = None
    remote_code: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Origin":
        """Read what `to_json` wrote; ValueError for anything else."""
        lists = {name: tuple(values[name]) for name in ("arrays", "dtypes")}
        origin = cls(**{**values, **lists})
        words = (origin.model, origin.source or "", origin.revision or "")
        whole = isinstance(origin.remote_code, bool) and len(origin.arrays) == len(origin.dtypes)
        known = all(dtype in STORED for dtype in origin.dtypes)
        if not (
            whole and known and all(isinstance(word, str) for word in (*words, *origin.arrays))
        ):
            raise ValueError("no origin of a feature")
        if not origin.layers or len(set(origin.arrays)) < len(origin.arrays):
            raise ValueError("a feature is made of one array or several different ones")
        return origin

    @property
    def layers(self) -> list[tuple[str, int | str]]:
        """Pooling and layer of each array; ValueError for one that a cache would not have."""
        matches = [(name, ARRAY.fullmatch(name)) for name in self.arrays]
        if wrong := [name for name, match in matches if match is None]:
            raise ValueError(f"no pooling of a layer is called {wrong[0][:80]!r}")
        return [
            (match[1], match[2] if match[2] == "last" else int(match[2]))
            for _, match in matches
            if match
        ]
