"""What `--data` knows by a short name: the bundled demo and data sets of the hub."""

from dataclasses import asdict, dataclass
from typing import Any

from lefcache.aliases import HUB, HubEntry
from lefcache.corpus import read_corpus
from lefcache.errors import CorpusError
from lefcache.hub import download_command, is_here
from lefcache.wording import did_you_mean


@dataclass(frozen=True)
class Known:
    """A short name, what it stands for, and what to know of it.

    `id` and `config` are the hub's, empty for what is bundled; `download` is the command that
    gets it where there is a network.
    """

    name: str
    id: str
    config: str
    splits: dict[str, str]  # ours to the hub's
    classes: int
    text: str  # the column with the texts, or the template that makes them
    label: str
    notes: tuple[str, ...]
    here: bool
    download: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self) | {"notes": list(self.notes)}


def catalogue() -> list[Known]:
    """Every short name, the demo first; nothing is downloaded and the hub is not asked."""
    return [_demo(), *(_known(name, entry) for name, entry in HUB.items())]


def look_up(name: str) -> Known:
    """One short name; CorpusError if there is none of this name."""
    known = {each.name: each for each in catalogue()}
    if name in known:
        return known[name]
    raise CorpusError(
        f"'{name}' is no short name{did_you_mean(name, known)}: `lef data` lists them; folders and "
        "hub ids (org/name) go to `lef extract --data` as they are"
    )


def _demo() -> Known:
    demo = read_corpus("demo")
    note = "made-up sentences that come with lefcache, for a first run and for tests"
    splits = {split: split for split in demo.splits}
    return Known("demo", "", "", splits, len(demo.classes), "text", "label", (note,), here=True)


def _known(name: str, entry: HubEntry) -> Known:
    reading = entry.reading
    return Known(
        name=name,
        id=entry.id,
        config=reading.config,
        splits=dict(entry.splits),
        classes=entry.classes,
        text=reading.template or reading.text_column or "text",
        label=reading.label_column or "label",
        notes=entry.notes,
        here=is_here(entry),
        download=download_command(entry.id, reading),
    )
