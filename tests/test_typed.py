import json
from dataclasses import asdict, dataclass

import pytest

from lefcache.typed import from_plain


@dataclass(frozen=True)
class Inner:
    name: str
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outer:
    rows: tuple[Inner, ...]
    best: Inner | None
    shares: dict[str, dict[str, float]]
    word: str | None = None


MADE = Outer((Inner("a", (0, 1.5)), Inner("b")), Inner("c"), {"a": {"mean": 1}})


def plain(made):
    return json.loads(json.dumps(asdict(made)))


@pytest.mark.parametrize("made", [MADE, Outer((), None, {}, "x")])
def test_what_json_made_of_a_dataclass_becomes_it_again(made):
    assert from_plain(Outer, plain(made)) == made
    assert from_plain(Outer, asdict(made)) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": "ab"},
        {"rows": [1]},
        {"rows": [{"name": "a", "ci95": [0]}]},
        {"rows": [{"ci95": None}]},
        {"best": []},
        {"shares": {"a": 1}},
        {"word": 3},
        {"nobody": 3},
    ],
)
def test_what_is_no_such_dataclass_is_refused(wrong):
    with pytest.raises((TypeError, ValueError)):
        from_plain(Outer, plain(MADE) | wrong)
