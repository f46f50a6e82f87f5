"""What strangers write: strategies and edits that the tests of every reader share.

Fuzzing is bounded (seconds for a module) and finds the same things every time: see conftest.
"""

import json
from contextlib import suppress

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lefcache.errors import LefError
from lefcache.spec import Spec

# Each example begins with a file as it was: what a fixture made may be used again.
few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])

ESCAPES = "[red]\x1b[2J\x9b1m\u202eevil\u2066\x07\r\b[/]"
CLIMBING = [
    *("..", "../..", "../../../etc/passwd", "/etc/passwd", "a/../../b", "./a", ".", "", "/"),
    *("a//b", "a/", "\x00", "a\x00b", "..\\..\\a", "C:\\a", "~", "~root", "a\nb", "*", "c" * 300),
    *("mean/../../../x", "mean/1/../../../../x", "\ud800", "train/\x1b[2J", "-x", "--x"),
]
NUMBERS = [
    *(0, 1, -1, 2**31, 2**63, 2**64, 10**18, 10**400, -(10**30), True, 0.0, -0.0, 1.5, 1e308, 1e-9),
    *(float("nan"), float("inf"), None),
]
ODD = ("mean/1", "tokens", "train", "bfloat16", "object", "O", "V9", "--trust-remote-code")
odd_words = st.sampled_from([*CLIMBING, ESCAPES, *ODD])
scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.text(max_size=8) | odd_words
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | odd_words, inner, max_size=3)
    ),
    max_leaves=6,
)
DEEP = "[" * 50_000
NO_JSON = [
    "",
    "{",
    "[]",
    "null",
    "7",
    '"x"',
    "{}",
    DEEP,
    '{"a":' * 20_000,
    "NaN",
    "\x00",
]


def places(document, above=()):
    """The path of every value inside a document of JSON, the document itself left out."""
    pairs = ()
    if isinstance(document, dict):
        pairs = document.items()
    elif isinstance(document, list):
        pairs = enumerate(document)
    for key, value in pairs:
        yield (*above, key)
        yield from places(value, (*above, key))


def edited(document, place, value, gone=False):
    """The same document with the value at a place replaced, or taken away."""
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    if gone:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return copy


@st.composite
def edits(draw, document):
    """A document in which one or two values are others, or gone, or have company."""
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from([*places(document)] or [()]))
        if not place:
            return draw(anything)
        document = edited(document, place, draw(anything), gone=draw(st.integers(0, 4)) == 0)
        if isinstance(document, dict) and draw(st.integers(0, 5)) == 0:
            document = document | {draw(st.text(max_size=5)): draw(anything)}
    return document


@st.composite
def flipped(draw, content):
    """Bytes of which some are others, gone or doubled."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        kind = draw(st.integers(0, 3))
        if kind == 0 and changed:
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            changed[at : at + draw(st.integers(1, 16))] = draw(st.binary(max_size=16))
        elif kind == 2:
            del changed[at:]
        else:
            changed[at:at] = changed[: draw(st.integers(0, 64))]
    return bytes(changed)


def only_our_errors():
    """Whatever is read: it is read, or refused with an error that names the fix."""
    return suppress(LefError)


def set_spec(store, model, **settings):
    """Let a model have other settings, and its splits know them: a whole cache of a stranger's."""
    attrs = store.attrs(model)
    spec = attrs["spec"] | settings
    store.set_attrs(model, attrs | {"spec": spec})
    for split in store.children(model):
        known = {"spec_digest": Spec.from_json(spec).digest}
        store.set_attrs(f"{model}/{split}", store.attrs(f"{model}/{split}") | known)
