"""Everything about an extraction that changes its numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lefcache.errors import MismatchError
from lefcache.settings import setting

# Raised whenever our own arithmetic (pooling, hooks, batching) changes the numbers.
NUMERICS = 1


@dataclass(frozen=True)
class Spec:
    """The identity of an extraction: two caches with equal Specs hold the same numbers.

    Library versions, device and threads are provenance: recorded beside it, never compared.
    """

    weights: str = ""
    tokenizer: str = ""
    prompt: str = setting("", "Text put before every text; pooled with it.")
    instruction: str = setting("", "Text put before every text; attended to, not pooled.")
    max_length: int = setting(512, "Tokens at which a text is cut.")
    truncation_side: str = setting(
        "right", "Which end of a long text is cut off.", choices=("right", "left")
    )
    dtype: str = setting(
        "auto",
        "Arithmetic of the model; auto: bfloat16 where it is fast, else float32.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    attention: str = setting("auto", "Attention implementation, as transformers names it.")
    numerics: int = NUMERICS

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Spec":
        """Read what `to_json` wrote; a field this version does not know is refused."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise MismatchError(
                f"written by a newer lefcache, which knows {', '.join(unknown)}: upgrade lefcache"
            )
        return cls(**values)

    def difference(self, other: "Spec") -> list[str]:
        """One line for each field in which `other` differs, `name: ours, not theirs`."""
        return [
            f"{f.name}: {getattr(self, f.name)!r} in the cache, {getattr(other, f.name)!r} now"
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        ]
