"""Whatever a stranger wrote into a corpus, a cache or a head, no command hands it to a terminal."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import lefcache
from cli.visible import visible, visible_json, visible_lines
from tests.hostile import set_spec

ROOT = Path(__file__).parents[2]
HOSTILE = "[red]\x1b[2J\x9b1m\u202eevil\u2066\x07\r\b[/]"


@pytest.mark.parametrize(
    "text", ["colis\xa0?", "荷物\u3000どこ", "क्\u200dष", "👩\u200d💻", "❤\ufe0f"]
)
def test_spaces_and_joiners_are_shown_as_they_are(text):
    assert visible(text) == text


@pytest.mark.parametrize("character", "\x1b\x07\x9b\n\t\u2028\u202e\u2066\u200f\u200b\ufeff\udcff")
def test_what_steers_a_terminal_is_spelt_out(character):
    assert visible(f"a{character}b").isascii()
    assert visible(f"a{character}b").isprintable()


@given(st.text())
def test_what_was_made_visible_once_stays_as_it_is(text):
    assert visible(visible(text)) == visible(text)
    assert visible_lines(visible_lines(text)) == visible_lines(text)


@given(st.text())
def test_no_text_can_begin_a_line_of_its_own(text):
    _, *others = visible_lines(f"Error: {text}").split("\n")
    assert all(line.startswith("  ") or not line.strip() for line in others)


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists))
@example(HOSTILE)
@example("\U000e0001")  # beyond 16 bits: a pair of escapes
def test_json_loses_nothing_and_steers_nothing(document):
    shown = visible_json(json.dumps(document, ensure_ascii=False))
    assert json.loads(shown) == document
    assert visible(shown) == shown


def test_every_line_of_every_command_goes_through_one_place():
    """`say`, `tell` and `print_table` escape; nothing else may print."""
    allowed = {"output.py", "completion.py"}  # the latter prints a script of click's own
    printing = re.compile(r"\bclick\.(s?echo|echo_via_pager)\b|\bprint\(|sys\.std(out|err)\.write")
    found = [
        file.name
        for file in (ROOT / "cli").glob("*.py")
        if file.name not in allowed and printing.search(file.read_text())
    ]
    assert found == []


def clean(ran):
    """Whether nothing that was printed could steer a terminal."""
    return all(visible(line) == line for line in (ran.out + ran.err).split("\n"))


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    for split, rows in (("train", 40), ("test", 10)):
        records = [
            {"text": f"{HOSTILE} {'word ' * (1 + 8 * (i % 2))}{i}", "label": HOSTILE + "ny"[i % 2]}
            for i in range(rows)
        ]
        lines = [json.dumps(record) for record in records]
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    (folder / f"{HOSTILE.replace('/', '')}.csv").write_text("text\n")  # which a note names
    return folder


FAST = ("--width", 8, "--hidden", "8", "--dropout", "0.1", "--epochs", 2, "--lr", 0.01)
COMMANDS = [
    ("ls",),
    ("ls", "--json"),
    ("show", "reviews"),
    ("show", "reviews", "--json"),
    ("show", "reviews/one"),
    ("show", "reviews/one/train"),
    ("show", HOSTILE),
    ("show", f"reviews/{HOSTILE}"),
    ("rm", HOSTILE),
    ("rm", f"reviews/one:{HOSTILE}"),
    ("verify",),
    ("verify", HOSTILE),
    ("convert", HOSTILE, "--to", "hdf5"),
    ("convert", HOSTILE, "--to", HOSTILE),
    ("extract", "--model", "one", "--data", HOSTILE),
    ("extract", "--model", HOSTILE, "--data", "demo", "--layers", HOSTILE),
    ("extract", "--model", "one", "--data", "reviews", "--template", HOSTILE),
    ("extract", "--model", "one", "--data", "reviews", "--text-column", HOSTILE),
    ("import", HOSTILE, HOSTILE, "--data", "reviews"),
    ("sweep", "--models", HOSTILE),
    ("sweep", "--models", f"one:{HOSTILE}"),
    ("sweep", "--models", "one"),
    ("sweep", "--models", "one", "--json"),
    ("fuse", "--models", "one:1,one:2", "--save", "head", *FAST),
    ("data", HOSTILE),
    ("models", HOSTILE),
    ("predict", HOSTILE, "a text"),
    (HOSTILE,),
    ("ls", f"--{HOSTILE}"),
]


def test_no_command_shows_a_text_that_steers_the_terminal(lef, fakes, corpus):
    extracted = lef("extract", "--data", corpus, "--model", "one")
    assert extracted.code == 0
    assert clean(extracted)
    for words in COMMANDS:
        assert clean(lef(*words)), words


def test_settings_of_a_strangers_cache_are_shown_escaped(lef, fakes, corpus, tmp_path):
    assert lef("extract", "--data", corpus, "--model", "one").code == 0
    store = lefcache.open(tmp_path / "lef-cache").store
    set_spec(store, "reviews/one", prompt=HOSTILE)
    attrs = store.attrs("reviews/one") | {"source": HOSTILE}
    attrs["provenance"] |= {"device": HOSTILE, HOSTILE: "x"}
    store.set_attrs("reviews/one", attrs)
    store.delete("reviews/one/train/ledger/0")  # so that there is something to go on with
    for words in COMMANDS[:9]:
        assert clean(lef(*words)), words


def test_a_strangers_lines_cannot_pass_for_ours(lef, fakes, corpus, tmp_path):
    assert lef("extract", "--data", corpus, "--model", "one").code == 0
    store = lefcache.open(tmp_path / "lef-cache").store
    attrs = store.attrs("reviews")
    store.set_attrs("reviews", attrs | {"classes": ["a\nError: run this", "b"]})
    ran = lef("show", "reviews")
    assert "a\\nError: run this" in ran.out


def test_the_answers_of_a_head_are_shown_escaped(lef, corpus, tmp_path, monkeypatch):
    from lefcache.predict import Prediction

    answer = Prediction(HOSTILE, HOSTILE, {HOSTILE: 1.0})
    from cli import predict

    ran = []
    monkeypatch.setattr("cli.output.click.echo", lambda line, err=False: ran.append(line))
    predict._print_lines(iter([answer]))
    predict._report([answer])
    predict._print_csv(iter([answer]), [HOSTILE], {})
    assert ran
    assert all(visible(each) == each for line in ran for each in re.split("[\n\t]", line))


def test_numbers_of_a_class_survive_the_escaping(lef, fakes, corpus):
    assert lef("extract", "--data", corpus, "--model", "one").code == 0
    classes = lef("show", "reviews", "--json").json["classes"]
    assert np.array_equal(sorted(classes), sorted([f"{HOSTILE}n", f"{HOSTILE}y"]))
