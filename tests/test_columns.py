"""Which columns are texts and labels, and settings that say so."""

from dataclasses import fields

import pytest

from lefcache.columns import Reading, Sheet, texts_and_labels
from lefcache.corpus import read_corpus
from lefcache.errors import CorpusError

PAIR = "{premise} [SEP] {hypothesis}"


def sheet(**columns):
    return Sheet("here", list(columns), columns.__getitem__)


def test_settings_come_back_from_their_flags():
    reading = Reading(label_column="y", template=PAIR, data_revision="abc")
    assert reading.flags() == {"label-column": "y", "template": PAIR, "data-revision": "abc"}
    assert Reading.from_flags(reading.flags()) == reading
    assert Reading().flags() == {}


def test_every_setting_is_a_flag_with_help():
    assert all(each.metadata["help"] for each in fields(Reading))


def test_flags_of_a_newer_version_are_refused():
    with pytest.raises(CorpusError, match="knows mood_ring: upgrade"):
        Reading.from_flags({"mood-ring": "blue"})


def test_what_is_given_wins_and_the_rest_stays():
    known = Reading(text_column="body", label_column="mood", config="en")
    assert Reading(label_column="stars").over(known) == Reading("body", "stars", config="en")
    assert Reading(template=PAIR).over(known) == Reading("", "mood", PAIR, "en")
    assert Reading(text_column="a").over(Reading(template=PAIR)) == Reading("a")
    assert Reading().over(known) == known


def test_a_text_has_one_origin():
    with pytest.raises(CorpusError, match="--template and --text-column exclude each other"):
        Reading(text_column="a", template="{b}")


def test_a_bad_template_is_refused_before_anything_is_read():
    with pytest.raises(CorpusError, match="names no column"):
        read_corpus("/no/where", template="nothing")


def test_only_the_columns_that_are_wanted_are_read():
    def cells(column):
        assert column in ("text", "label")
        return ["a"]

    found = texts_and_labels(Sheet("here", ["text", "label", "image"], cells), Reading())
    assert found == (["a"], ["a"], "")


def test_a_template_makes_the_texts():
    pairs = sheet(premise=["a", "b"], hypothesis=["c", None], number=[1, 2], label=["y", "n"])
    assert texts_and_labels(pairs, Reading(template=PAIR))[0] == ["a [SEP] c", "b [SEP] "]
    assert texts_and_labels(pairs, Reading(template="{number}: {premise}"))[0] == ["1: a", "2: b"]


def test_a_column_that_a_template_names_must_be_there():
    with pytest.raises(CorpusError, match=r"here has no column 'premise'.*it has text, label"):
        texts_and_labels(sheet(text=["a"], label=["y"]), Reading(template=PAIR))


def test_labels_do_not_leak_into_texts():
    rated = sheet(text=["a"], label=["y"], stars=[5])
    with pytest.raises(CorpusError, match=r"puts the labels \(label\) into the texts"):
        texts_and_labels(rated, Reading(template="{text} {label}"))
    texts, labels, _ = texts_and_labels(
        rated, Reading(template="{text} {label}", label_column="stars")
    )
    assert (texts, labels) == (["a y"], ["5"])


def test_columns_of_a_template_are_no_candidates_for_labels():
    note = texts_and_labels(sheet(a=["x"], b=["y"], c=["z"]), Reading(template="{a}{b}"))[2]
    assert note.startswith("no labels (is it c?")


@pytest.mark.parametrize("cell", [["a", "b"], {"a": 1}])
def test_several_labels_in_a_row_are_refused(cell):
    with pytest.raises(CorpusError, match=r"column 'label' holds .* where one label should be"):
        texts_and_labels(sheet(text=["x"], label=[cell]), Reading())


def test_a_folder_is_read_through_a_template(write_tsv):
    folder = write_tsv("pairs", "premise\thypothesis\tlabel", train=[("a", "b", "yes")])
    corpus = read_corpus(folder, template=PAIR)
    assert corpus.splits["train"].texts == ["a [SEP] b"]
    assert corpus.options == {"template": PAIR}


@pytest.mark.parametrize("flag", ["config", "data_revision"])
def test_flags_of_the_hub_are_refused_for_a_folder(write_tsv, flag):
    folder = write_tsv("here", train=[("a", "yes")])
    with pytest.raises(CorpusError, match="are for data sets on the hub"):
        read_corpus(folder, **{flag: "x"})
