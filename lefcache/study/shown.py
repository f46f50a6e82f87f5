"""How results show themselves in a notebook: as a table, as a frame, as a chart."""

import html
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from lefcache.errors import LefError
from lefcache.wording import install_extra

if TYPE_CHECKING:
    import pandas


class Shown(ABC):
    """A result with a table of plain rows; the charts are those of `lef report`."""

    @property
    @abstractmethod
    def heading(self) -> str:
        """What stands above the table."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """The figures as rows of plain values, each with its n and its interval."""

    @abstractmethod
    def plot(self) -> Any:
        """The figures as an Altair chart; LefError where the extra `report` is not installed."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What to know of the figures that they do not show."""

    def to_frame(self) -> "pandas.DataFrame":
        """The rows as a pandas frame; LefError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise LefError(
                f"a frame needs pandas, which is not installed: {install_extra('report')}"
            ) from error
        return pandas.DataFrame(self.records())

    def _repr_html_(self) -> str:
        rows = self.records()
        names = [*rows[0]] if rows else []
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(_told(row[name]))}</td>' for name in names)}</tr>"
            for row in rows
        )
        notes = "".join(f"<p>note: {html.escape(line)}</p>" for line in self.notes())
        return (
            f"<table><caption>{html.escape(self.heading)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"
        )


def ends(name: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    """`NAME_low` and `NAME_high` of an interval, None for none."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _told(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
