"""Writing a report: the page, and its charts as files."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lefcache.cache import Cache
from lefcache.errors import FeatureError, StorageError
from lefcache.files import replace_file
from lefcache.report.gather import gather
from lefcache.report.layout import Section
from lefcache.report.page import page
from lefcache.report.sections import sections
from lefcache.report.theme import PAPER

FORMATS = ("svg", "png")
SCALE = 3  # pixels of a PNG for each of the page's


@dataclass(frozen=True)
class Written:
    """What was written: the page, its size in bytes, and the charts by name.

    `missing` has a command for each section that has no figures yet.
    """

    path: str
    bytes: int
    studies: int
    charts: list[str]
    figures: list[str]
    missing: dict[str, str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)


def report(
    cache: Cache,
    path: Path,
    *,
    data: str | None = None,
    models: Collection[str] = (),
    figures: Path | None = None,
    format: str = "svg",
    title: str = "",
) -> Written:
    """Write one self-contained HTML file of everything that a cache has been asked.

    Args:
        cache: read, never written.
        path: of the page; a file that is there is replaced as a whole.
        data: one corpus instead of all.
        models: these models instead of all.
        figures: a folder for the charts as files.
        format: of these, `svg` or `png`.
        title: of the page; left out, the cache's name.

    Raises:
        LefError: the extra `report` is not installed.
        FeatureError: no such cache, corpus or model.
        StorageError: a file that cannot be written.
    """
    assert format in FORMATS
    if not cache.exists:
        raise FeatureError(f"there is no cache {cache.path}: check what --cache says")
    gathered = gather(cache, data, models)
    found = sections(gathered)
    html = page(gathered, found, title).encode()
    charts = [panel.id for part in found for panel in part.panels if panel.draw]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, html)
        drawn = [*_draw(found, figures, format)] if figures else []
    except OSError as error:
        raise StorageError(f"cannot write {error.filename or path}: {error.strerror}") from error
    return Written(
        path=str(path),
        bytes=len(html),
        studies=len(gathered.studies),
        charts=charts,
        figures=drawn,
        missing={part.id: part.command for part in found if not part.panels},
        notes=[*gathered.notes],
    )


def _draw(found: list[Section], folder: Path, format: str) -> Iterator[str]:
    """Each chart in the colours of paper, with its title."""
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    for section in found:
        for panel in section.panels:
            if panel.draw is None:
                continue
            spec = panel.draw(PAPER, f"{section.title} {panel.title}").to_dict()
            file = folder / f"{panel.id}.{format}"
            if format == "svg":
                replace_file(file, vl_convert.vegalite_to_svg(spec).encode())
            else:
                replace_file(file, vl_convert.vegalite_to_png(spec, scale=SCALE))
            yield str(file)
