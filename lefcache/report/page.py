"""A report as one HTML file.

Nothing in it is asked for elsewhere, and nothing that came from outside is ever more than text.
"""

from datetime import datetime
from importlib.resources import files
from typing import Any

from lefcache.report import summary
from lefcache.report.commands import cache_words
from lefcache.report.gather import Figures
from lefcache.report.layout import Section
from lefcache.report.theme import PAGE, altair
from lefcache.version import __version__
from lefcache.wording import some


def page(figures: Figures, found: list[Section], title: str = "") -> str:
    """The HTML of a report under a title; every text from outside is escaped where it stands.

    Raises LefError where the extra `report` is not installed.
    """
    altair()
    import vl_convert

    charts = {
        panel.id: panel.draw(PAGE, "").to_dict()
        for section in found
        for panel in section.panels
        if panel.draw is not None
    }
    return str(
        _template().render(
            title=title or _heading(figures),
            cache=str(figures.cache.path),
            where=cache_words(figures.cache.path),
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            version=__version__,
            figures=figures,
            glance=summary.glance(figures),
            contents=summary.contents(figures),
            answers=summary.answers(figures),
            every=summary.every_result(figures),
            sections=found,
            charts=charts,
            # Of a browser's script, nothing may look like its end.
            library=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace(
                "</script", "<\\/script"
            ),
            style=_beside("page.css"),
            script=_beside("page.js"),
        )
    )


def _heading(figures: Figures) -> str:
    if not figures.corpora:
        return "An empty cache"
    models, corpora = some(figures.names, 4), some(figures.corpora, 4)
    return f"{models} on {corpora}" if models else corpora


def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    room = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return room.from_string(_beside("page.html"))


def _beside(name: str) -> str:
    return (files("lefcache.report") / name).read_text("utf-8")
