import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from cli.main import main
from lefcache.corpus import Corpus, Split
from lefcache.extract import extract
from lefcache.recipe import Recipe
from lefcache.train import train

ROOT = Path(__file__).parents[2]
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


def test_no_texts_are_remarked(lef, head, tmp_path):
    (tmp_path / "none.txt").write_text("")
    ran = lef("predict", head, "--file", "none.txt", "--json")
    assert (ran.code, ran.json) == (0, [])
    assert "note: no text was given" in ran.err


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
        ["x", "--device", "cpu", "--device-map", "auto"],
        ["x", "--text-column", "text"],
        ["-", "--template", "{a} {b}"],
        ["a", "-"],
        ["-", "-"],
    ],
)
def test_a_wrong_call_is_a_usage_error(words, lef, head, tmp_path):
    (tmp_path / "texts.txt").write_text("no\n")
    assert lef("predict", head, *words).code == 2


def test_a_folder_without_a_head_is_refused_before_torch_is_there(python):
    code = "import sys; from cli.main import main; main(sys.argv[1:])"
    hidden = f"import sys; sys.modules['torch'] = None; {code}"
    done = python(hidden, "predict", "nowhere", "a text", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "lef fuse --save" in done.stderr


def test_a_text_that_is_not_utf8_is_refused(lef, head):
    ran = lef("predict", head, "caf\udce9")
    assert (ran.code, ran.out) == (1, "")
    assert "the command line: row 0" in ran.err


def test_texts_are_made_as_those_that_the_head_was_trained_on(lef, head, tmp_path):
    card = json.loads((head / "head.json").read_text())
    card["reading"] = {"template": "{title} sat {body}"}
    (head / "head.json").write_text(json.dumps(card))
    (tmp_path / "pairs.csv").write_text("title,body,text\na cat,on the mat,no\n")
    ran = lef("predict", head, "--file", "pairs.csv", "--json")
    assert [answer["text"] for answer in ran.json] == ["a cat sat on the mat"]
    assert "note" not in ran.err
    flags = ("--file", "pairs.csv", "--text-column", "text")
    assert [answer["text"] for answer in lef("predict", head, *flags, "--json").json] == ["no"]
    (tmp_path / "lines.txt").write_text("a cat\n")
    for words in (["a cat"], ["--file", "lines.txt"]):
        assert "{title} sat {body}" in lef("predict", head, *words, "--json").err


# A process of its own, with a head that takes no time to load.
STUB = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from types import ModuleType, SimpleNamespace

class Predictor:
    classes = ("no", "yes")
    def __init__(self, *_, **__): pass
    def stream(self, texts):
        for text in texts:
            shares = {"no": 1.0, "yes": 0.0}
            yield SimpleNamespace(text=text, label="no", probabilities=shares, cut=False)

for name in ("lefcache.predict", "lefcache.train"):
    sys.modules[name] = ModuleType(name)
sys.modules["lefcache.predict"].Predictor = Predictor
from lefcache.columns import Reading
card = SimpleNamespace(reading=Reading())
sys.modules["lefcache.train"].load_head = lambda _: SimpleNamespace(card=card)
from cli.main import main
main(["predict", *sys.argv[1:], "-"])
"""


@pytest.fixture
def streaming(tmp_path):
    """`lef predict HEAD -` between two pipes that stay open, past its first answer."""
    (tmp_path / "head.json").write_text("{}")
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    words = [sys.executable, "-c", STUB, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, bufsize=0, **pipes) as process:
        process.stdin.write(b"one\n")
        assert process.stdout.readline() == b"no\t100.0\tone\n"
        yield process
        process.kill()


def test_csv_is_written_as_the_lines_come(tmp_path):
    (tmp_path / "head.json").write_text("{}")
    words = [sys.executable, "-c", STUB, str(tmp_path), "--csv"]
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with subprocess.Popen(words, cwd=ROOT, bufsize=0, **pipes) as process:
        process.stdin.write(b"one\n")
        header = process.stdout.readline()
        assert header == b"text,label,probability of no,probability of yes\n"
        assert process.stdout.readline() == b"one,no,1.0,0.0\n"
        process.kill()


def test_ctrl_c_ends_a_stream_that_stays_open(streaming):
    streaming.send_signal(signal.SIGINT)
    assert streaming.wait(timeout=20) == 130
    assert b"Interrupted" in streaming.stderr.read()


def test_a_line_that_is_not_utf8_ends_a_stream_that_stays_open(streaming):
    streaming.stdin.write(b"\xff\n")
    assert streaming.wait(timeout=20) == 1
    assert streaming.stderr.read() == b"Error: line 2 of the input is not UTF-8; convert it first\n"


def test_a_reader_that_has_enough_ends_a_stream_that_stays_open(streaming):
    streaming.stdout.close()
    streaming.stdin.write(b"two\n")
    assert streaming.wait(timeout=20) == 1
    assert streaming.stderr.read() == b""


@pytest.mark.skipif(os.name == "nt", reason="a closed standard input is a thing of POSIX shells")
def test_a_standard_input_that_is_closed_is_said_to_be(tmp_path):
    words = f"{shlex.quote(sys.executable)} -m cli.main predict {shlex.quote(str(tmp_path))} - <&-"
    done = subprocess.run(words, shell=True, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"which is closed" in done.stderr


def test_a_folder_without_a_head_says_how_to_make_one(lef):
    ran = lef("predict", "nowhere", "a text")
    assert (ran.code, ran.out) == (1, "")
    assert "lef fuse --save" in ran.err


def test_fuse_saves_what_predict_reads(lef, texts, fakes, tmp_path):
    lef("extract", "--data", texts, "--model", "fake")
    words = ("fuse", "--models", "fake:1,fake:last", "--width", "4", "--epochs", "2")
    ran = lef(*words, "--seeds", "3", "--save", "heads/mine")
    assert ran.code == 0
    assert "the best of 3 on rows carved from train" in ran.out
    assert "lef predict heads/mine" in ran.out
    assert "heads/mine" in ran.out.splitlines()[-1]
    one = lef(*words, "--save", "one").out
    assert re.findall("Next: .*", one) == ["Next: lef predict one 'a text'"]
    again = lef(*words, "--seeds", "3", "--save", "again")  # its figures are there already
    assert again.code == 0
    [first], [second] = (
        [load_file(path) for path in (tmp_path / folder).glob("*.safetensors")]
        for folder in ("heads/mine", "again")
    )
    assert first.keys() == second.keys()
    for name, values in first.items():  # one seed alone now, three together before
        np.testing.assert_allclose(second[name], values, atol=1e-4)
    figures = json.loads((tmp_path / "again/head.json").read_text())["figures"]
    assert f"seed {figures['seed']}" in ran.out


def test_fuse_refuses_a_place_for_the_head_before_it_trains(lef, texts, fakes, tmp_path):
    lef("extract", "--data", texts, "--model", "fake")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    ran = lef("fuse", "--models", "fake:1", "--epochs", "1", "--save", "thesis")
    assert (ran.code, ran.out) == (1, "")
    assert "seed 0" not in ran.err


def test_fuse_does_not_replace_another_head(lef, texts, fakes, tmp_path):
    lef("extract", "--data", texts, "--model", "fake")
    fast = ("--width", "4", "--epochs", "1", "--save", "head")
    words = ("fuse", "--models", "fake:1,fake:2", *fast)
    assert lef(*words).code == 0
    before = (tmp_path / "head/head.json").read_bytes()
    for other in (
        ("fuse", "--models", "fake:1,fake:3", *fast),
        ("fuse", "--models", "fake:2,fake:1", *fast),
        (*words, "--op", "hadamard"),
    ):
        ran = lef(*other)
        assert (ran.code, ran.out) == (1, "")
        assert "head holds another head (fake:1 + fake:2, concat, on reviews)" in ran.err
        assert "--overwrite" in ran.err
    assert (tmp_path / "head/head.json").read_bytes() == before
    assert lef(*words, "--lr", "1e-2").code == 0  # the same question, asked better
    assert (tmp_path / "head/head.json").read_bytes() != before
    assert lef(*words, "--op", "hadamard", "--overwrite").code == 0
    assert json.loads((tmp_path / "head/head.json").read_text())["recipe"]["op"] == "hadamard"
    (tmp_path / "head/head.json").write_text("{}")
    assert "cannot be read" in lef(*words).err
    assert lef(*words, "--overwrite").code == 0
    assert lef(*words[:3], "--overwrite").code == 2


def test_a_head_that_no_raw_text_can_reach_is_not_sent_to_predict(lef, texts, tmp_path):
    for split, rows in (("train", 40), ("test", 10)):
        vectors = np.random.default_rng(rows).standard_normal((rows, 4), np.float32)
        np.save(tmp_path / f"{split}.npy", vectors)
    assert lef("import", "mine", "train.npy", "test.npy", "--data", texts).code == 0
    words = ("fuse", "--models", "mine:last", "--width", "4", "--epochs", "1", "--save", "head")
    ran = lef(*words, "--seeds", "2")
    assert ran.code == 0
    assert "lef predict" not in ran.out
    assert "no raw text: the vectors of mine were made elsewhere" in ran.out


def test_a_finished_fusion_that_is_saved_tells_one_story(lef, texts, fakes):
    lef("extract", "--data", texts, "--model", "fake")
    words = ("fuse", "--models", "fake:1,fake:2", "--width", "4", "--epochs", "1", "--save", "head")
    first, again = lef(*words), lef(*words)
    assert "seed 0:" in first.err
    assert "trained again" not in first.out
    assert "seed 0:" not in again.err
    assert "taken from the results folder" in again.out
    assert "Saved the head, trained again for it, in head." in again.out


def test_csv_keeps_what_stands_beside_the_texts(lef, head, tmp_path):
    (tmp_path / "mail.csv").write_text("id,sentence,label,text\n7,no,maybe,x\n8,a cat,no,y\n")
    ran = lef("predict", head, "--file", "mail.csv", "--text-column", "sentence", "--csv")
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["text"] for row in rows] == ["no", "a cat"]
    assert [row["input text"] for row in rows] == ["x", "y"]
    assert [row["id"] for row in rows] == ["7", "8"]
    assert [row["input label"] for row in rows] == ["maybe", "no"]
    assert {row["label"] for row in rows} <= {"no", "yes"}


def test_texts_that_are_not_read_whole_are_counted(lef, head, tmp_path):
    long = "very good " * 300
    (tmp_path / "texts.txt").write_text(f"no\n{long}\n  \n\n{long}\n")
    for form in ("--json", "--jsonl", "--csv"):
        ran = lef("predict", head, "--file", "texts.txt", form)
        assert (
            "note: of 5 texts, 2 cut, as longer than the head's --max-length and 2 empty" in ran.err
        )
    assert "note" not in lef("predict", head, "no").err


def test_a_model_that_the_head_does_not_read_is_refused(lef, head):
    ran = lef("predict", head, "no", "--model", "minilm=somewhere")
    assert (ran.code, ran.out) == (1, "")
    assert "the head reads no model minilm: its models are bert" in ran.err


def test_texts_beside_a_file_are_not_taken_for_none(lef, tmp_path):
    (tmp_path / "t.txt").write_text("a\n")
    ran = lef("predict", "head", "--file", "t.txt", "and")
    assert ran.code == 2
    assert "texts and --file exclude each other" in ran.err
