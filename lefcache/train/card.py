"""What a head was made from: enough to use it on raw text, and to know what it is worth."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any

from lefcache.aliases import published
from lefcache.columns import Reading
from lefcache.feature import Feature
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.spec import Origin, Spec
from lefcache.version import __version__

FORMAT = 1  # of head.json; a higher number is refused by versions that do not know it


@dataclass(frozen=True)
class Card:
    """The inputs and outputs of a head: K features with their widths, Specs and origins; classes.

    `figures` say how it was trained and how it did, as plain values; `reading` which columns its
    texts were made of.
    """

    features: tuple[Feature, ...]
    widths: tuple[int, ...]
    specs: tuple[Spec, ...]
    origins: tuple[Origin, ...]
    classes: tuple[str, ...]
    recipe: Recipe
    figures: Mapping[str, Any] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)

    @classmethod
    def of(cls, table: Table, recipe: Recipe, figures: Mapping[str, Any]) -> "Card":
        """The card of a head that has learnt from a table."""
        source = published(table.source)
        made = {"corpus": table.corpus, "source": source, "lefcache": __version__}
        return cls(
            features=table.features,
            widths=table.widths,
            specs=table.specs,
            origins=table.origins,
            classes=table.classes,
            recipe=recipe,
            figures=made | dict(figures),
            reading=table.reading,
        )

    def published(self) -> "Card":
        """The card for others: a model in a folder of this machine is just somewhere."""
        origins = tuple(
            replace(each, source="") if each.source and _is_folder(each.source) else each
            for each in self.origins
        )
        return replace(self, origins=origins)

    def to_json(self) -> dict[str, Any]:
        """The card as plain values."""
        rows = zip(self.features, self.widths, self.specs, self.origins, strict=True)
        return {
            "format": "lefcache-head",
            "version": FORMAT,
            "features": [
                {
                    "feature": str(feature),
                    "width": width,
                    "spec": spec.to_json(),
                    "origin": origin.to_json(),
                }
                for feature, width, spec, origin in rows
            ],
            "classes": list(self.classes),
            "recipe": self.recipe.to_json(),
            "figures": dict(self.figures),
            "reading": self.reading.flags(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Card":
        """Read what `to_json` wrote.

        Raises LookupError, TypeError or ValueError (LefErrors among them) for anything else.
        """
        if document["format"] != "lefcache-head" or not isinstance(document["version"], int):
            raise ValueError("not the card of a head")
        if document["version"] > FORMAT:
            raise ValueError(f"written by a newer lefcache (format {document['version']}): upgrade")
        rows = document["features"]
        card = cls(
            features=tuple(Feature.parse(row["feature"]) for row in rows),
            widths=tuple(_number(row["width"]) for row in rows),
            specs=tuple(Spec.from_json(row["spec"]) for row in rows),
            origins=tuple(Origin.from_json(row["origin"]) for row in rows),
            classes=tuple(_word(name) for name in document["classes"]),
            recipe=Recipe.from_json(document["recipe"]),
            figures=dict(document["figures"]),
            reading=Reading.from_flags(
                {flag: _word(value) for flag, value in document.get("reading", {}).items()}
            ),
        )
        for feature, origin in zip(card.features, card.origins, strict=True):
            _check_origin(feature, origin)
        if not rows or not card.classes or len(set(card.classes)) < len(card.classes):
            raise ValueError("a head has features, and classes with a name each")
        return card


def _is_folder(source: str) -> bool:
    return Path(source).is_absolute() or PureWindowsPath(source).is_absolute()


def _check_origin(feature: Feature, origin: Origin) -> None:
    """Refuse a feature that is said to be one thing and is made of another."""
    parts = feature.parts
    # Layers that count from the end have other numbers in the cache; how many, one cannot say.
    counted = not any(isinstance(each, int) and each < 0 for each in (*parts[:1], *parts[-1:]))
    pools = (feature.pool,) if feature.pool else ("own", "mean")
    if (
        feature.model != origin.model
        or {pool for pool, _ in origin.layers} - {*pools}
        or (counted and len(parts) != len(origin.arrays))
    ):
        raise ValueError(f"{feature} is not made of {origin.model}'s {', '.join(origin.arrays)}")
    for part, (_, layer) in zip(parts, origin.layers, strict=counted):
        # Another name for `last` is a number; a number has no other name.
        if counted and isinstance(part, int) and part != layer:
            raise ValueError(f"layer {part} of {feature} is not {layer}")


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is no width")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value
