"""How charts look: on paper in fixed colours, in a page in those of its light or dark style."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lefcache.errors import LefError
from lefcache.wording import install_extra

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


@dataclass(frozen=True)
class Theme:
    """Colours as Vega takes them, and the width of a chart (`container`: as wide as its place)."""

    ink: str
    muted: str
    line: str
    surface: str
    heat: str
    on_heat: str
    fused: str
    good: str
    bad: str
    series: Sequence[str]
    width: int | str = 520
    background: str = "transparent"

    def config(self) -> dict[str, Any]:
        """Vega-Lite's configuration: quiet axes, our fonts, no box around anything."""
        words = {
            "labelColor": self.muted,
            "titleColor": self.muted,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
        }
        return {
            "background": self.background,
            "font": FONT,
            "view": {"stroke": None},
            "title": {"color": self.ink, "fontSize": 13, "anchor": "start", "offset": 12},
            "axis": {
                **words,
                "gridColor": self.line,
                "domainColor": self.line,
                "tickColor": self.line,
                "labelLimit": 260,
                "labelSeparation": 6,
                "titlePadding": 8,
            },
            "legend": {
                **words,
                "labelColor": self.ink,
                "labelFontSize": 12,
                "labelLimit": 320,
                "orient": "top",
                "title": None,
                "symbolSize": 90,
                "symbolOpacity": 1,
                "offset": 10,
                "columnPadding": 18,
                "rowPadding": 4,
            },
        }


# Told apart by who sees few colours, too (after Okabe and Ito, darkened for a white page).
PAPER = Theme(
    ink="#1d2430",
    muted="#5b6575",
    line="#e2e6ec",
    surface="#ffffff",
    heat="#1f5fae",
    on_heat="#ffffff",
    fused="#7a3fb5",
    good="#0b7f5f",
    bad="#c2491d",
    series=(
        "#1f6fb8",
        "#cf5a16",
        "#0b8a66",
        "#b83b7c",
        "#a37400",
        "#3a8fb0",
        "#8a5a3c",
        "#5f6f1c",
    ),
    background="#ffffff",
)

# The same names as in the style sheet of the page, which has them for light and for dark.
PAGE = Theme(
    ink="var(--ink)",
    muted="var(--muted)",
    line="var(--line)",
    surface="var(--surface)",
    heat="var(--heat)",
    on_heat="var(--on-heat)",
    fused="var(--fused)",
    good="var(--good)",
    bad="var(--bad)",
    series=tuple(f"var(--series-{place})" for place in range(1, 9)),
    width="container",
)


class Colours:
    """One colour for each model, the same in every chart of a report."""

    def __init__(self, names: Sequence[str], theme: Theme) -> None:
        self._of = {
            name: theme.series[place % len(theme.series)] for place, name in enumerate(names)
        }
        self._theme = theme

    def of(self, name: str) -> str:
        """The colour of a model; what is no model has the ink's."""
        return self._of.get(name, self._theme.muted)


def altair() -> Any:
    """The library that describes charts; LefError that names what installs it."""
    try:
        import altair as found
        import vl_convert  # noqa: F401  draws them without a browser
    except ImportError as error:
        raise LefError(
            f"charts need altair and vl-convert, which are not installed: {install_extra('report')}"
        ) from error
    return found
