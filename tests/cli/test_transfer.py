import csv
import io
import re
import shlex

import numpy as np
import pytest

from lefcache import open as open_cache
from lefcache.corpus import Corpus, Split
from lefcache.report.gather import gather
from lefcache.report.later import transfer_matrices
from lefcache.study import Transfer
from lefcache.vectors import import_vectors

FAST = ("--width", 8, "--hidden", "8", "--dropout", "0.1", "--epochs", 2, "--lr", 0.01)
WORDS = ("transfer", "--models", "one")


def written(folder, rows, classes, opening):
    """A corpus of two classes that differ in length, with some labels that are wrong."""
    folder.mkdir()
    for split, many in rows.items():
        lines = ["text\tlabel"]
        for i in range(many):
            words, label = 1 + i % 5 + 6 * (i % 2), i % 2 ^ (i % 7 == 0)
            lines.append(f"{opening} {'word ' * words}{split} {i}\t{classes[label]}")
        (folder / f"{split}.tsv").write_text("\n".join([*lines, ""]))
    return folder


@pytest.fixture
def extracted(lef, fakes, tmp_path):
    """Three corpora, two with the same classes; `news` has a test of its own too."""
    fakes(depth=3)
    rows = {"train": 40, "test": 12}
    for name, classes in (("films", "ny"), ("books", "YN"), ("news", ("sport", "trade"))):
        folder = written(tmp_path / name, rows, classes, name)
        assert lef("extract", "--data", folder, "--model", "one").code == 0
    return lef


def test_a_matrix_is_shown_and_the_next_command_works(extracted):
    ran = extracted(*WORDS)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("one, ridge probe: test % of each corpus's own choice")
    heads = ["books (n = 12)", "films (n = 12)", "news (n = 12)"]
    assert re.split(r"  +", lines[1]) == ["chosen on", "layer", *heads]
    assert [line.split("  ")[0] for line in lines[2:8]] == [
        *("own choice", "books", "films", "news", "last layer", "fixed depth 0.6"),
    ]
    assert "rank alike" not in ran.out  # no layer of these models is better than another
    assert "other classes" in ran.out
    assert "Classes of films taken for those of books: n = N, y = Y." in ran.out
    assert re.search(
        r"6 cells, a layer chosen on another corpus is \d+\.\d points (behind|ahead of) the own "
        r"choice \(last layer: .*\)\. 0 forward passes, in",
        ran.out,
    )
    assert "only 12 test rows" in ran.err
    assert extracted(*shlex.split(lines[-1].removeprefix("Next: "))[1:], *FAST).code == 0


def test_how_layers_rank_is_shown_where_some_are_better(lef, tmp_path):
    draw = np.random.default_rng(0)
    cache = open_cache("lef-cache")
    for name in ("films", "news"):
        splits = {}
        for split, size in (("train", 60), ("test", 40)):
            labels = draw.permutation(size) % 2
            texts = [f"{name} {split} {row}" for row in range(size)]
            splits[split] = Split(texts, labels.tolist())
            (tmp_path / name / split).mkdir(parents=True)
            for layer in range(4):
                rows = draw.standard_normal((size, 3)) + layer * labels[:, None]
                np.save(tmp_path / name / split / f"layer-{layer}.npy", rows.astype(np.float32))
        import_vectors("one", [tmp_path / name], Corpus(name, ("n", "y"), splits), cache)
    ran = lef(*WORDS)
    assert ran.code == 0, ran.err
    place = ran.out.splitlines().index(
        "do 4 layers rank alike? Spearman of the curves that chose (95 %)"
    )
    one, other = ran.out.splitlines()[place + 2 : place + 4]
    assert one.split() == ["films", "own", "+1.00"]  # a perfect order has no interval
    assert other.split() == ["news", "+1.00", "own"]


def test_one_target_and_the_results_that_are_kept(extracted):
    words = (*WORDS, "--data", "books,news", "--to", "films")
    first = extracted(*words, "--json").json["transfers"]
    (found,) = map(Transfer.from_json, first)
    assert (found.sources, [each.corpus for each in found.targets]) == (
        ("books", "news"),
        ["films"],
    )
    assert "taken from the results folder" in extracted(*words).out
    listed = extracted("results", "--data", "films").out
    assert re.search(
        rf"{found.targets[0].id[:8]} .*transfer .*against choices of books, news", listed
    )
    assert "no difference" in extracted("compare", *[found.targets[0].id] * 2).out


def test_a_corrected_label_of_a_source_makes_it_stale(extracted, tmp_path):
    extracted(*WORDS, "--data", "news", "--to", "films")
    file = tmp_path / "news" / "train.tsv"
    file.write_text(file.read_text().replace("train 1\ttrade", "train 1\tsport"))
    assert extracted("extract", "--data", tmp_path / "news", "--model", "one").code == 0
    assert "stale: the labels of train of news changed since" in extracted("results").out


def test_csv_has_a_row_for_each_layer_baseline_and_head(extracted):
    rows = [*csv.DictReader(io.StringIO(extracted(*WORDS, "--csv").out))]
    kinds = [row["what"] for row in rows]
    assert [kinds.count(what) for what in ("layer", "baseline")] == [9, 6]
    moved = [row for row in rows if row["what"] == "head" and not row["why_not"]]
    assert {(row["source"], row["target"]) for row in moved} == {
        ("films", "books"),
        ("books", "films"),
    }
    assert all(0 <= float(row["accuracy"]) <= 1 and row["n"] == "12" for row in moved)
    assert [row["why_not"] for row in rows if row["why_not"]] == ["other classes"] * 4


def test_the_report_shows_it_and_its_command_makes_it_again(extracted):
    extracted(*WORDS)
    figures = gather(open_cache("lef-cache"))
    ((told, rows, studies),) = transfer_matrices(figures)
    chosen = [row for row in rows if not row["settled"]]
    assert (told, len(chosen)) == ("one, ridge probe", 9)
    assert {row["source"] for row in rows if row["settled"]} == {"last layer", "fixed depth 0.6"}
    for study in studies:
        again = extracted(*shlex.split(study.command)[1:], "--json").json["transfers"]
        assert again[0]["targets"][0]["cached"], study.command
    (one,) = (row for row in rows if (row["source"], row["target"]) == ("news", "films"))
    assert one["low"] <= one["regret"] <= one["high"]


def test_the_methods_head_and_its_settings(extracted):
    ran = extracted(
        *WORDS, "--data", "news", "--to", "films", "--probe", "mlp", "--seeds", 2, *FAST
    )
    assert ran.code == 0, ran.err
    assert "one, mlp probe" in ran.out
    study = gather(open_cache("lef-cache")).of("transfer")[0]
    assert extracted(*shlex.split(study.command)[1:], "--json").json["transfers"][0]["targets"][0][
        "cached"
    ]
    ran = extracted(*WORDS, *FAST)
    assert ran.code == 2
    assert "--probe ridge has no such settings" in ran.err


def test_corpora_that_lack_something_take_no_part_and_mistakes_name_the_fix(extracted, tmp_path):
    folder = written(tmp_path / "short", {"train": 40}, "ny", "short")
    assert extracted("extract", "--data", folder, "--model", "one", "--layers", "1..3").code == 0
    ran = extracted(*WORDS)
    assert "not in all of books, films, news, short, and so left out: one:0" in ran.err
    assert "short (n" not in ran.out  # it has no test, so it is no target
    ran = extracted(*WORDS, "--to", "short")
    assert (ran.code, ran.out) == (1, "")
    assert "short has no test with labels" in ran.err
    ran = extracted(*WORDS, "--to", "nowhere")
    assert ran.code == 1
    assert "nowhere" in ran.err
    ran = extracted(*WORDS, "--data", "films", "--to", "films")
    assert "extract the model on a second one" in ran.err
    assert "a choice takes two layers" in extracted("transfer", "--models", "one:1").err
    assert "of on to choose from (did you mean one?)" in extracted("transfer", "--models", "on").err
    assert extracted("transfer").code == 2
