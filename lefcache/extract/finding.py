"""What an examination of a model says: findings a person understands, and their sum."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lefcache.errors import ModelError
from lefcache.wording import command_line, count

Verdict = Literal["ok", "note", "wrong", "skipped"]


@dataclass(frozen=True)
class Finding:
    """One check of a model: what was found, in a sentence with its numbers, and what to do.

    One that is skipped could not be made, and `fix` is what it takes. `figures` are the numbers
    behind the sentence, most often one of each layer.
    """

    name: str
    verdict: Verdict
    found: str
    fix: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values; a number that JSON cannot hold is None."""
        finite = {name: each if abs(each) < float("inf") else None for name, each in self._each()}
        return asdict(self) | {"figures": finite}

    def _each(self) -> Iterable[tuple[str, float]]:
        return self.figures.items()

    def __str__(self) -> str:
        return f"{self.name}: {self.found}{f'; {self.fix}' if self.fix else ''}"


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was found about a model."""

    model: str
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """What makes its numbers ones that should not be used."""
        return tuple(each for each in self.findings if each.verdict == "wrong")

    @property
    def verdict(self) -> str:
        """The sum in plain words."""
        skipped = sum(each.verdict == "skipped" for each in self.findings)
        checks = count(len(self.findings) - skipped, "check")
        if self.wrong:
            names = ", ".join(each.name for each in self.wrong)
            return (
                f"{self.model} is not to be trusted as it is: {len(self.wrong)} of {checks} "
                f"found something wrong ({names})."
            )
        notes = sum(each.verdict == "note" for each in self.findings)
        said = f", {count(notes, 'note')}" if notes else ""
        said += f", {skipped} skipped" if skipped else ""
        return f"{self.model} is sound: {checks}, nothing wrong{said}."

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {
            "model": self.model,
            "sound": not self.wrong,
            "verdict": self.verdict,
            "findings": [each.to_json() for each in self.findings],
        }


class DefectError(ModelError):
    """A model that can be loaded and whose numbers are wrong: `findings` say in what way."""

    def __init__(self, model: str, source: str, findings: Iterable[Finding]) -> None:
        self.model, self.source, self.findings = model, source, tuple(findings)
        said = ". ".join(map(str, self.findings))
        look = command_line(["lef", "doctor", "--model", source])
        super().__init__(f"{source} gives wrong numbers. {said}. Look closer with: {look}")

    def __reduce__(self) -> tuple[type, tuple[str, str, tuple[Finding, ...]]]:
        """So that a worker of a cluster can send it home."""
        return type(self), (self.model, self.source, self.findings)


def refuse(model: str, source: str, findings: Iterable[Finding]) -> None:
    """Raise DefectError if any finding is wrong."""
    if wrong := [each for each in findings if each.verdict == "wrong"]:
        raise DefectError(model, source, wrong)
