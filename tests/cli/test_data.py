"""`lef data`, and `lef extract` on a data set of the hub."""

import csv
import io
import shlex

import pytest

from lefcache.aliases import HUB


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub-data"))


@pytest.fixture
def pairs(hub_data):
    rows = {"a": [f"text {n}" for n in range(12)], "b": list(range(12)), "label": [0, 1] * 6}
    hub_data("org/Pairs", config="en", classes=("no", "yes"), train=rows, test=rows)
    return ("--data", "org/Pairs", "--config", "en", "--template", "{a} [SEP] {b}")


def test_every_short_name_is_listed_with_what_is_said_of_it(lef):
    out = lef("data").out
    for name, entry in HUB.items():
        assert name in out
        assert entry.id in out
        shown = lef("data", name).out
        assert all(f"note: {note}" in shown for note in entry.notes)
    assert "test (its validation)" in out


def test_csv_has_a_row_for_each(lef):
    rows = list(csv.DictReader(io.StringIO(lef("data", "--csv").out)))
    assert [row["name"] for row in rows] == ["demo", *HUB]
    assert (rows[1]["id"], rows[1]["classes"]) == ("stanfordnlp/sst2", "2")


def test_json_is_one_document(lef):
    entries = lef("data", "--json").json
    assert entries[0] == lef("data", "demo", "--json").json
    sst2 = next(each for each in entries if each["name"] == "sst2")
    assert sst2["id"] == "stanfordnlp/sst2"
    assert sst2["splits"] == {"train": "train", "test": "validation"}
    assert (sst2["classes"], sst2["here"]) == (2, False)
    assert sst2["notes"] == list(HUB["sst2"].notes)


def test_one_is_shown_with_the_command_that_downloads_it(lef, hub_data):
    assert "load_dataset('coastalcph/lex_glue', 'ledgar')" in lef("data", "ledgar").out
    assert "on this machine  no" in lef("data", "ledgar").out
    hub_data("coastalcph/lex_glue", config="ledgar", train={"text": ["a"], "label": [1]})
    assert "on this machine  yes" in lef("data", "ledgar").out
    assert "none: bundled" in lef("data", "demo").out


def test_an_unknown_name_is_one_line(lef):
    ran = lef("data", "agnews")
    assert (ran.code, ran.out) == (1, "")
    assert "did you mean ag_news" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_data_set_is_extracted_and_known_again_by_its_name(lef, fakes, pairs):
    ran = lef("extract", *pairs, "--model", "one", "--json")
    assert (ran.code, ran.json["rows"]) == (0, 24)
    again = lef("extract", "--data", "pairs", "--model", "two", "--json")
    assert (again.code, again.json["rows"]) == (0, 24)
    shown = lef("show", "pairs", "--json").json
    assert shown["source"] == "org/Pairs"
    assert shown["options"] == {"config": "en", "template": "{a} [SEP] {b}"}
    assert shown["classes"] == ["no", "yes"]


def test_another_template_on_a_known_corpus_is_refused_as_other_texts(lef, fakes, pairs):
    assert lef("extract", *pairs, "--model", "one").code == 0
    ran = lef("extract", "--data", "pairs", "--text-column", "a", "--model", "one")
    assert ran.code == 1
    assert "is not the text that the cache was made from" in ran.err


def test_the_command_that_adds_a_model_carries_the_flags(lef, fakes, pairs):
    assert lef("extract", *pairs, "--model", "one").code == 0
    ran = lef("sweep", "--data", "pairs", "--models", "two")
    words = shlex.split(ran.err.partition("add it with: ")[2])
    assert words[:2] == ["lef", "extract"]
    for flag, value in zip(pairs[::2], pairs[1::2], strict=True):
        assert words[words.index(flag) + 1] == value
    assert lef(*words[1:]).code == 0


def test_a_folder_is_extracted_through_a_template(lef, fakes, write_tsv):
    folder = write_tsv(
        "nli", "premise\thypothesis\tlabel", train=[("a", "b", "y"), ("c", "d", "n")]
    )
    words = ("extract", "--data", folder, "--model", "m", "--template")
    assert lef(*words, "{premise} [SEP] {hypothesis}").code == 0
    for template, message in (
        ("{nope}", "no column 'nope'"),
        ("{premise.__class__}", "no column 'premise.__class__'"),
        ("plain", "names no column"),
        ("{premise} {label}", "puts the labels"),
    ):
        ran = lef(*words, template)
        assert (ran.code, len(ran.err.splitlines())) == (1, 1)
        assert message in ran.err
    ran = lef(*words, "{premise}", "--text-column", "premise")
    assert "exclude each other" in ran.err


@pytest.mark.parametrize(
    ("data", "message"),
    [("nosuchthing", "no data at 'nosuchthing'"), ("sst2", "load_dataset('stanfordnlp/sst2')")],
)
def test_data_that_cannot_be_had_is_one_line(lef, fakes, data, message):
    ran = lef("extract", "--data", data, "--model", "m")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert message in ran.err
