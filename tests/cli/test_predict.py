import csv
import io
import json

import pytest
from click.testing import CliRunner

from cli.main import main
from lefcache.corpus import Corpus, Split
from lefcache.extract import extract
from lefcache.recipe import Recipe
from lefcache.train import train

TEXTS = ["a cat sat on the mat", "no", "the film was very good", "three bad cat film"] * 4


@pytest.fixture
def head(cache, backbone, tmp_path):
    """A saved head of a tiny BERT; its folder."""
    labels = [number % 2 for number in range(len(TEXTS))]
    extract(backbone("bert"), Corpus("tiny", ("no", "yes"), {"train": Split(TEXTS, labels)}), cache)
    recipe = Recipe(width=4, hidden=(), dropout=(), epochs=1)
    return train(cache.table("bert:1"), recipe)[0].save(tmp_path / "head")


def test_texts_are_labelled(lef, head):
    ran = lef("predict", head, *TEXTS[:2], "--json")
    assert ran.code == 0
    assert [answer["text"] for answer in ran.json] == TEXTS[:2]
    for answer in ran.json:
        assert set(answer) == {"text", "label", "probabilities"}
        assert sum(answer["probabilities"].values()) == pytest.approx(1)
        assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)


def test_nothing_is_cut_in_a_pipe(lef, head):
    text = "the film was very good " * 20
    [answer] = lef("predict", head, text, "--json").json
    label, share, shown = lef("predict", head, text).out.rstrip("\n").split("\t")
    assert (label, shown) == (answer["label"], text)
    assert float(share) == pytest.approx(100 * answer["probabilities"][label], abs=0.05)


def test_a_file_gives_what_its_texts_give(lef, head, tmp_path):
    expected = lef("predict", head, *TEXTS[:4], "--json").json
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS[:4]))
    assert lef("predict", head, "--file", "texts.txt", "--json").json == expected
    lines = lef("predict", head, "--file", "texts.txt", "--jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == expected
    rows = lef("predict", head, "--file", "texts.txt").out.splitlines()
    assert [row.split("\t")[0] for row in rows] == [each["label"] for each in expected]
    assert [row.split("\t")[2] for row in rows] == TEXTS[:4]


def test_csv_has_a_column_for_each_class(lef, head):
    [answer] = lef("predict", head, "a, b", "--json").json
    [row] = csv.DictReader(io.StringIO(lef("predict", head, "a, b", "--csv").out))
    assert (row["text"], row["label"]) == ("a, b", answer["label"])
    assert float(row["probability of yes"]) == pytest.approx(answer["probabilities"]["yes"])


def test_texts_may_be_made_of_several_columns(lef, head, tmp_path):
    (tmp_path / "pairs.csv").write_text("title,body\na cat,on the mat\n")
    words = ("predict", head, "--file", "pairs.csv", "--template", "{title} sat {body}", "--json")
    assert [answer["text"] for answer in lef(*words).json] == ["a cat sat on the mat"]
    assert "--template" in lef("predict", head, "--file", "pairs.csv").err


def test_a_stream_is_read_from_standard_input(head):
    words = ["predict", str(head), "-", "--jsonl"]
    done = CliRunner().invoke(main, words, input="\n".join(TEXTS[:3]))
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == TEXTS[:3]


def test_a_text_cannot_steer_the_terminal(lef, head, tmp_path):
    (tmp_path / "texts.txt").write_text("no \x1b[31m red\n")
    assert "\x1b" not in lef("predict", head, "--file", "texts.txt").out
    assert "\x1b" not in lef("predict", head, "no \x1b[31m red").out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["a text", "--file", "texts.txt"],
        ["a text", "--json", "--jsonl"],
        ["x", "--model", "bert"],
    ],
)
def test_a_wrong_call_is_a_usage_error(words, lef, head, tmp_path):
    (tmp_path / "texts.txt").write_text("no\n")
    assert lef("predict", head, *words).code == 2


def test_a_folder_without_a_head_says_how_to_make_one(lef):
    ran = lef("predict", "nowhere", "a text")
    assert (ran.code, ran.out) == (1, "")
    assert "lef fuse --save" in ran.err


def test_fuse_saves_what_predict_reads(lef, texts, fakes, tmp_path):
    lef("extract", "--data", texts, "--model", "fake")
    words = ("fuse", "--models", "fake:1,fake:last", "--width", "4", "--epochs", "2")
    ran = lef(*words, "--seeds", "3", "--save", "heads/mine")
    assert ran.code == 0
    assert "the best of 3 on validation" in ran.out
    assert "lef predict heads/mine" in ran.out
    first = (tmp_path / "heads/mine/head.safetensors").read_bytes()
    again = lef(*words, "--seeds", "3", "--save", "again")  # its figures are there already
    assert again.code == 0
    assert (tmp_path / "again/head.safetensors").read_bytes() == first
    figures = json.loads((tmp_path / "again/head.json").read_text())["figures"]
    assert f"seed {figures['seed']}" in ran.out


def test_fuse_refuses_a_place_for_the_head_before_it_trains(lef, texts, fakes, tmp_path):
    lef("extract", "--data", texts, "--model", "fake")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    ran = lef("fuse", "--models", "fake:1", "--epochs", "1", "--save", "thesis")
    assert (ran.code, ran.out) == (1, "")
    assert "seed 0" not in ran.err
