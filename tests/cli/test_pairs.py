import csv
import io
import re
import shlex

import pytest

from lefcache.study import Pairs

FAST = ("--width", 8, "--hidden", "8", "--dropout", "0.1", "--epochs", 2, "--lr", 0.01)
WORDS = ("pairs", "--models", "one:1,one:last,two:2")


@pytest.fixture
def extracted(lef, fakes, texts):
    fakes(depth=3)
    for model in ("one", "two"):
        assert lef("extract", "--data", texts, "--model", model).code == 0
    return lef


def test_pairs_are_ranked_and_the_next_command_works(extracted):
    ran = extracted(*WORDS)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("reviews: what ridge makes of each pair by leave-one-out (n = 40)")
    assert lines[1].split()[:2] == ["pair", "gain"]
    assert "measured" not in lines[1]
    assert sum(" + " in line for line in lines[2:5]) == 3
    assert re.search(r"3 pairs, 0 heads, 0 forward passes, in .* s\. Result \w{8}\.", ran.out)
    following = lines[-1].removeprefix("Next: ")
    assert extracted(*shlex.split(following)[1:], *FAST).code == 0


def test_a_finished_one_is_taken_from_the_results_and_listed(extracted):
    first = extracted(*WORDS, "--json").json
    assert "taken from the results folder" in extracted(*WORDS).out
    listed = extracted("results").out
    assert re.search(rf"{first['id'][:8]} .*pairs .*3 pairs of 3 features", listed)
    ran = extracted("compare", first["id"], first["id"])
    assert ran.code == 1
    assert "was not scored on a test" in ran.err


def test_the_document_is_whole_and_csv_has_its_rows(extracted):
    document = extracted(*WORDS, "--json").json
    best = document.pop("best")
    found = Pairs.from_json(document)
    assert [found.best.first, found.best.second] == best
    rows = [*csv.DictReader(io.StringIO(extracted(*WORDS, "--csv").out))]
    assert [float(row["gain"]) for row in rows] == [row.gain for row in found.rows]
    assert {row["measured_id"] for row in rows} == {""}
    top = extracted(*WORDS, "--by", "accuracy", "--top", 1, "--json").json
    assert len(top["rows"]) == 1
    assert [top["rows"][0]["first"], top["rows"][0]["second"]] == best


def test_what_was_fused_is_shown_beside(extracted):
    extracted("fuse", "--models", "one:1,two:2", "--alone", *FAST)
    ran = extracted(*WORDS)
    assert "measured, test %" in ran.out.splitlines()[1]
    (row,) = (line for line in ran.out.splitlines() if line.startswith("one:1 + two:2"))
    assert "n = 10" in row
    assert row.endswith("concat")
    assert "one:1,two:2" not in ran.out.splitlines()[-1]  # that one has been fused already
    assert re.search(r"Of 1 pair fused so far, [01] came out inside the interval", ran.out)
    rows = [*csv.DictReader(io.StringIO(extracted(*WORDS, "--csv").out))]
    assert sorted(row["measured_op"] for row in rows) == ["", "", "concat"]
    for models in ("one:1,one:last", "one:last,two:2"):
        extracted("fuse", "--models", models, "--alone", *FAST)
    assert "ridge gain, accuracy" in extracted(*WORDS).out or "all the same" in ran.out


def test_fewer_rows_are_said_and_mistakes_name_the_fix(extracted):
    ran = extracted(*WORDS, "--rows", 20)
    assert ran.code == 0, ran.err
    assert re.search(r"note: \d+ rows of 40 were learnt from", ran.err)
    assert "needs a row: give at least 2" in extracted(*WORDS, "--rows", 1).err
    ran = extracted("pairs", "--models", "one:1")
    assert (ran.code, ran.out) == (1, "")
    assert "a pair takes two features, and one:1 is one" in ran.err
    assert "For example: lef pairs --data reviews --models one:last,two:last" in (
        extracted("pairs").err
    )


def test_who_waits_for_many_pairs_is_told_how_long(extracted, monkeypatch):
    monkeypatch.setattr("cli.pairs.LOG_SECONDS", -1.0)
    assert re.search(r"^  2 of 3 pairs, \d+\.\d s left$", extracted(*WORDS).err, re.M)
