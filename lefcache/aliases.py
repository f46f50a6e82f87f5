"""Short names for well-known data sets of the hub: where each is, and how it is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lefcache.columns import Reading

HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")


@dataclass(frozen=True)
class HubEntry:
    """A data set that has a short name: where it is, how it is read, and what to know of it."""

    id: str
    classes: int
    notes: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    # Our split to the hub's; one that the hub does not have is left out.
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )


_TRAIN_TEST = {"train": "train", "test": "test"}

# Every id here is one of plain data files, because datasets 4 and newer run no scripts: trec is
# SetFit's copy (CogComp/trec is a script), massive is MTEB's (AmazonScience/massive is one), and
# pubmed-rct is armanc's. Ids, columns and splits are those that public code reads; none could be
# tried against the hub here. Open are the sizes of the splits of r8 and r52, whether r8 has a
# validation split, and whether their labels have names or are numbers. Either is read.
HUB = {
    "sst2": HubEntry(
        "stanfordnlp/sst2",
        classes=2,
        reading=Reading(text_column="sentence"),
        splits={"train": "train", "test": "validation"},
        notes=(
            "the hub's test has no labels (all are -1), so the 872 sentences of its validation "
            "serve as test, as in most papers; a labelled test of your own: --data FOLDER",
            "there is no validation split, and one that is carved from train judges too well: 89 % "
            "of carved phrases are parts of a sentence that stays in train; --data "
            "sst2-dev=stanfordnlp/sst2 keeps the 872 as validation, and its test unlabelled",
        ),
    ),
    "mr": HubEntry(
        "cornell-movie-review-data/rotten_tomatoes",
        classes=2,
        notes=(
            "split 8,530 / 1,066 / 1,066: not that of TextGCN (7,108 / 3,554), which many papers "
            "call MR, so accuracies are not comparable with theirs",
        ),
    ),
    "r8": HubEntry(
        "dxgp/R8",
        classes=8,
        notes=("a copy by a user of the hub; check its splits against 5,485 / 2,189",),
    ),
    "r52": HubEntry(
        "dxgp/R52",
        classes=52,
        notes=(
            "a copy by a user of the hub; it has a validation split of its own, so its train is "
            "smaller than the usual 6,532 (test 2,568)",
        ),
    ),
    "imdb": HubEntry(
        "stanfordnlp/imdb",
        classes=2,
        splits=_TRAIN_TEST,
        notes=("the 50,000 reviews of its split unsupervised have no labels and are not read",),
    ),
    "amazon": HubEntry(
        "fancyzhx/amazon_polarity",
        classes=2,
        reading=Reading(template="{title}\n{content}"),
        splits=_TRAIN_TEST,
        notes=(
            "a text is the title and, on the next line, the review; --text-column content leaves "
            "the title out",
            "3,600,000 / 400,000 reviews: --limit takes the first ones",
        ),
    ),
    "ag_news": HubEntry("fancyzhx/ag_news", classes=4, splits=_TRAIN_TEST),
    "trec": HubEntry(
        "SetFit/TREC-QC",
        classes=6,
        reading=Reading(label_column="label_coarse_original"),
        splits=_TRAIN_TEST,
        notes=("the 6 coarse classes; --label-column label_original gives the 50 fine ones",),
    ),
    "massive": HubEntry(
        "mteb/amazon_massive_intent",
        classes=60,
        reading=Reading(label_column="label", config="en"),
        notes=("the English part; --data massive-de=massive --config de is the German one",),
    ),
    "ledgar": HubEntry("coastalcph/lex_glue", classes=100, reading=Reading(config="ledgar")),
    "pubmed-rct": HubEntry(
        "armanc/pubmed-rct20k",
        classes=5,
        notes=(
            "the 20k version, one sentence a text, numbers replaced by @: 176,642 / 29,672 / "
            "29,578 sentences",
        ),
    ),
}


def hub_entry(place: str) -> HubEntry | None:
    """The entry of a short name or of a hub id; None for what is neither."""
    if place in HUB:
        return HUB[place]
    return HubEntry(place, classes=0, splits={}) if HUB_ID.fullmatch(place) else None


def published(source: str) -> str:
    """The public name of a corpus's source: a data set's id, `demo`, or '' for one's own files.

    Their folder is nobody else's business, and leads nowhere on another machine.
    """
    place = source.rpartition("=")[2]
    entry = hub_entry(place)
    return entry.id if entry else place if place == "demo" else ""
