"""What is printed where: csv, colours, interrupts."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.output import plain, print_csv, print_table, progress
from cli.params import spelled

ROOT = Path(__file__).parents[2]
FAST = ("--width", 8, "--hidden", "8", "--dropout", "0.1", "--epochs", 2, "--lr", 0.01)


@pytest.fixture
def extracted(lef, fakes, texts):
    for model in ("one", "two"):
        assert lef("extract", "--data", texts, "--model", model).code == 0
    return lef


def rows(ran):
    assert ran.code == 0, ran.err
    return list(csv.DictReader(io.StringIO(ran.out)))


# Forms


def test_ls_as_csv_has_plain_numbers(extracted):
    first, *_ = rows(extracted("ls", "--csv"))
    document = extracted("ls", "--json").json[0]
    assert first["layers"] == "0..3,last"
    assert first["resume"] == ""
    for name in ("corpus", "model", "split", "rows", "done_rows", "width", "dtype", "bytes"):
        assert first[name] == str(document[name])


def test_an_empty_listing_is_a_header(lef):
    ran = lef("ls", "--csv")
    assert ran.out.startswith("corpus,model,split,layers,pools,rows,")
    assert rows(ran) == []


def test_sweep_as_csv_marks_the_best(extracted):
    found = rows(extracted("sweep", "--models", "one", "--csv"))
    document = extracted("sweep", "--models", "one", "--json").json
    assert [float(row["val_accuracy"]) for row in found] == [
        row["val_accuracy"] for row in document["rows"]
    ]
    [best] = [row for row in found if row["best"] == "true"]
    assert best["feature"] == document["best"]
    assert float(best["test_ci95_low"]) <= float(best["test_accuracy"])
    assert all(row["test_accuracy"] == "" for row in found if row["best"] == "false")


def test_fuse_as_csv_has_a_row_for_each_figure(extracted):
    words = ("fuse", "--models", "one:1,two:2", *FAST)
    found = rows(extracted(*words, "--csv"))
    document = extracted(*words, "--json").json
    assert [row["figure"] for row in found] == [
        *("val_accuracy", "test_accuracy", "test_macro_f1"),
        *("test_log_loss", "test_calibration_error"),
    ]
    for row in found:
        assert float(row["mean"]) == document[row["figure"]]["mean"]
        assert float(row["ci95_high"]) == document[row["figure"]]["ci95"][1]
    assert [row["n"] for row in found[1:]] == ["10"] * 4


def test_the_layers_of_a_mix_have_a_row_each(extracted):
    words = ("fuse", "--models", "one:all", "--op", "mix", *FAST)
    found = rows(extracted(*words, "--csv"))
    shares = extracted(*words, "--json").json["layer_weights"]
    weights = {row["figure"]: row for row in found if row["figure"].startswith("layer_weights.")}
    assert [*weights] == [f"layer_weights.{feature}" for feature in shares]
    for feature, share in shares.items():
        row = weights[f"layer_weights.{feature}"]
        assert float(row["mean"]) == share["mean"]
        assert (row["std"], row["ci95_low"], row["n"]) == ("", "", "")


@pytest.mark.parametrize("study", [("sweep",), ("fuse", *FAST)])
def test_each_size_of_train_has_its_rows(extracted, study):
    words = (*study, "--models", "one:1,one:2", "--n-train", "10,20,all")
    found = rows(extracted(*words, "--csv"))
    curve = extracted(*words, "--json").json["curve"]
    sizes = [str(point["n_train"]) for point in curve]
    assert list(dict.fromkeys(row["n_train"] for row in found)) == sizes
    if study[0] == "fuse":
        tested = [float(row["mean"]) for row in found if row["figure"] == "test_accuracy"]
        assert tested == [point["test_accuracy"]["mean"] for point in curve]
    else:
        assert [row["feature"] for row in found] == ["one:1", "one:2"] * 3
        best = [row["feature"] for row in found if row["best"] == "true"]
        assert best == [point["best"] for point in curve]


def test_show_as_csv_is_keys_and_values(extracted):
    found = {
        row["key"]: row["value"] for row in rows(extracted("show", "reviews/one/train", "--csv"))
    }
    assert found["spec.dtype"] == "float32"
    assert found["rows.asked"] == "40"
    assert found["arrays.mean/1.shape"] == "40, 2"


@pytest.mark.parametrize("command", ["ls", "show", "sweep", "fuse", "models"])
def test_a_document_has_one_form(lef, command):
    words = {"show": ["x"], "sweep": ["--models", "x"], "fuse": ["--models", "x"]}
    ran = lef(command, *words.get(command, []), "--json", "--csv")
    assert ran.code == 2
    assert "--json and --csv exclude each other" in ran.err
    assert not ran.out


def test_cells_that_need_quotes_have_them(capsys):
    print_csv(["a", "b", "c"], [{"a": 'x, "y"\nz', "b": None, "c": True, "d": "not asked for"}])
    out = capsys.readouterr().out
    assert list(csv.reader(io.StringIO(out))) == [["a", "b", "c"], ['x, "y"\nz', "", "true"]]


def test_show_speaks_no_python(extracted):
    out = extracted("show", "reviews/one/train").out + extracted("show", "reviews").out
    assert not any(word in out for word in ("[", "]", "None", "True", "False", "{"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        ("", "none"),
        ([], "none"),
        ({}, "none"),
        (0, "0"),
        (False, "no"),
        (["a", 1, None], "a, 1, none"),
        ({"x": 1, "y": ["z"]}, "x 1, y z"),
    ],
)
def test_values_are_written_as_people_do(value, words):
    assert plain(value) == words


def test_settings_are_given_again_as_they_were():
    assert spelled({"op": "concat", "hidden": (8, 4), "lr": 0.1}) == [
        *("--op", "concat", "--hidden", "8,4", "--lr", "0.1")
    ]


# Terminals

LS = ["-m", "cli.main", "ls"]


def on_a_terminal(folder, words, **variables):
    """What Python writes where stdout and stderr are a terminal."""
    pty = pytest.importorskip("pty")
    ours, its = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, *words],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=folder,
        env=environment | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)} | variables,
    )
    os.close(its)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end was closed
            break
        seen += piece
        if not piece:
            break
    os.close(ours)
    assert process.wait() == 0, seen
    return seen


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_escape_codes_are_for_terminals_that_want_them(extracted, tmp_path, variables, coloured):
    assert (b"\x1b[" in on_a_terminal(tmp_path, LS, **variables)) is coloured


def test_no_line_of_a_table_that_is_piped_ends_in_spaces(capsys):
    print_table("a title", ["name", "note"], [["a", "a long note"], ["b", ""], ["a\u2028b", " "]])
    lines = capsys.readouterr().out.split("\n")
    assert lines == [line.rstrip() for line in lines]
    assert lines == ["a title", "name      note", "a         a long note", "b", "a\\u2028b", ""]


@pytest.mark.parametrize("colour", ["", "1"])
def test_a_title_is_one_line_however_narrow_its_table(monkeypatch, capsys, colour):
    monkeypatch.setenv("FORCE_COLOR", colour)
    monkeypatch.setenv("NO_COLOR", "1")
    title = "settled beforehand, so that nothing was chosen by their test"
    print_table(title, ["a"], [["b"]])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [title, "a", "b"]


def test_only_the_last_column_of_a_table_gives_way(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    text = " ".join(f"word{number}" for number in range(40))
    print_table("", ["label", ">%", "~text"], [["fault", "99.1", text]])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("fault", "99.1", *text.split()))
    assert max(map(len, shown.splitlines())) <= 80


PRINTS = {
    "json": "print_json({'text': TEXT})",
    "csv": "print_csv(['text'], [{'text': TEXT}])",
}


@pytest.mark.parametrize("form", PRINTS)
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_documents_are_utf8_in_a_pipe(form, encoding, python):
    text = "🚚 посылка 荷物 é"
    code = f"from cli.output import *\nTEXT = {text!a}\n{PRINTS[form]}"
    done = python(code, PYTHONIOENCODING=f"{encoding}:replace", encoding="utf-8")
    assert text in done


def test_json_on_a_terminal_that_knows_no_letters_loses_none(tmp_path):
    code = "from cli.output import print_json; print_json('\\u0436')"
    shown = on_a_terminal(tmp_path, ["-c", code], PYTHONIOENCODING="cp1252:replace")
    assert json.loads(shown) == "ж"


def test_progress_on_a_terminal_counts_rows_and_tokens(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("demo/minilm", 10) as advance:
        advance("train", 4, 40)
        advance("train", 6, 60)
    shown = capsys.readouterr().err
    assert "demo/minilm/train" in shown
    assert "10/10 rows" in shown
    assert "tokens/s" in shown


def test_a_pipe_gets_no_escape_codes(extracted):
    assert "\x1b" not in extracted("ls").out


def test_a_console_without_blocks_still_shows_a_sweep(extracted, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "sweep", "--models", "one"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"?" in done.stdout


# Ctrl-C


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("lefcache.study.sweep", ["sweep", "--models", "one", "--seed", "3"]),
        ("lefcache.study.fuse_best", ["fuse", "--models", "one:1,two:2"]),
        ("lefcache.cache.tree.Cache.ls", ["ls"]),
    ],
)
def test_ctrl_c_ends_a_command_with_one_line(extracted, monkeypatch, target, words):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(target, stop)
    monkeypatch.setattr(sys, "argv", ["lef", *words])
    ran = extracted(*words)
    assert ran.code == 130
    assert ran.err.strip() == (
        "Interrupted; nothing is left half-written, and a study goes on where it was. "
        f"Again: lef {' '.join(words)}"
    )
    assert not ran.out


@pytest.mark.parametrize("length", [25, 400])
def test_no_width_cuts_a_name_or_a_figure_off(capsys, length):
    print_table("title", ["name", ">accuracy"], [["m" * length, "81.0 [77.8, 84.0]"]])
    out = capsys.readouterr().out
    assert "m" * length in out
    assert "81.0 [77.8, 84.0]" in out


def test_a_list_of_results_tells_every_id_whole(lef, extracted):
    words = ("--models", "one:all,two:all", *FAST, "--no-baselines")
    found = extracted("fuse", *words, "--json").json
    for listing in ("results", "compare"):
        assert f"\n{found['id'][:8]}  reviews  fuse " in lef(listing).out
