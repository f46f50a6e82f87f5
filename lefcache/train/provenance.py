"""Where a head's data and models can be had, and under which licences, for people to read."""

from lefcache.aliases import HUB, HUB_ID
from lefcache.registry import MODELS, ModelEntry
from lefcache.spec import Origin
from lefcache.train.card import Card


def dataset_of(card: Card) -> str:
    """The id of the data set on the hub that a head learnt from, or ''."""
    source = card.figures.get("source")
    return source if isinstance(source, str) and HUB_ID.fullmatch(source) else ""


def split_on_the_hub(dataset: str, split: str) -> str:
    """What a data set calls a split of ours: the hub's `validation` of SST-2 is our `test`."""
    entry = next((each for each in HUB.values() if each.id == dataset), None)
    return entry.splits.get(split, split) if entry and entry.splits else split


def models_of(card: Card) -> dict[str, Origin]:
    """Each language model by its name, with the first origin that speaks of it."""
    found: dict[str, Origin] = {}
    for origin in card.origins:
        found.setdefault(origin.model, origin)
    return found


def model_id(origin: Origin) -> str:
    """The id of a model on the hub, or '' of one that came with lefcache, a folder or vectors."""
    entry = _entry(origin)
    source = entry.source if entry else origin.source or ""
    return source if HUB_ID.fullmatch(source) and not (entry and entry.bundled) else ""


def licence_of(origin: Origin) -> str:
    """A model's licence as its authors call it, or '' where lefcache knows none."""
    known = {entry.source: entry.licence for entry in MODELS.values()}
    entry = _entry(origin)
    return entry.licence if entry else known.get(origin.source or "", "")


def _entry(origin: Origin) -> ModelEntry | None:
    return MODELS.get(origin.source or "")
