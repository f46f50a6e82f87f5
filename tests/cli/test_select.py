import re
import shlex

import numpy as np
import pytest

from cli.select import SCORES
from lefcache import study
from lefcache.corpus import Corpus, Split
from lefcache.vectors import import_vectors

SIZES = {"train": 400, "test": 60}
FAST = (
    "--width",
    8,
    "--hidden",
    "8",
    "--dropout",
    "0.1",
    "--epochs",
    12,
    "--batch",
    20,
    "--lr",
    0.01,
)
ENOUGH = (*FAST, "--budget", "100000%")


@pytest.fixture
def filled(lef, tmp_path):
    """A cache with two models of four blocks; the second layer of each knows the labels best."""
    import lefcache

    draw = np.random.default_rng(0)
    labels = {split: draw.permutation(size) % 2 for split, size in SIZES.items()}
    splits = {
        split: Split([f"{split} {row}" for row in range(size)], labels[split].tolist())
        for split, size in SIZES.items()
    }
    corpus = Corpus("tiny", ("no", "yes"), splits)
    cache = lefcache.open(tmp_path / "lef-cache")
    for model in ("one", "two"):
        for split, size in SIZES.items():
            folder = tmp_path / model / split
            folder.mkdir(parents=True)
            for layer in range(5):
                rows = draw.standard_normal((size, 6)).astype(np.float32)
                rows[:, 0] += (0.5, 1.0, 4.0, 1.0, 0.2)[layer] * labels[split]
                np.save(folder / f"layer-{layer}.npy", rows)
        import_vectors(model, [tmp_path / model], corpus, cache)
    return lef


def test_the_scores_of_the_flag_are_those_of_the_library():
    assert tuple(study.SCORES) == SCORES


def test_it_says_which_layer_how_surely_and_at_what_cost(filled):
    ran = filled("select", "--models", "one", *ENOUGH)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("tiny, one: ridge, judged by leave-one-out; the scores on the right")
    (row,) = [line for line in lines if line.startswith("one:2 ") and "[" in line]
    assert re.search(r"one:2 +360 +\d+\.\d \[\d+\.\d, \d+\.\d\] +360 +chosen, fixed depth", row)
    assert re.search(
        r"one:2: chosen by ridge on 360 rows; \d+ % of bootstrap resamples of the judged rows",
        ran.out,
    )
    assert re.search(r"It took .* rows read, .* % of the work of a sweep", ran.out)
    assert "the test was not read" in ran.out
    assert all(name in ran.out for name in SCORES)
    assert lines[-1] == "Next: lef fuse --data tiny --models one:2 --seeds 5"


def test_what_comes_next_works_exactly_so(filled):
    ran = filled("select", "--models", "one,two:1..3", *ENOUGH)
    following = ran.out.splitlines()[-1].removeprefix("Next: ")
    assert following == "lef fuse --data tiny --models one:2,two:2 --op hadamard-res"
    assert filled(*shlex.split(following)[1:], *FAST, "--no-baselines").code == 0


def test_json_and_csv_hold_every_layer(filled):
    document = filled("select", "--models", "one,two", *ENOUGH, "--json").json
    assert [each["feature"] for each in document["choices"]] == ["one:2", "two:2"]
    assert document["choices"][0]["fixed"] == "one:2"
    lines = filled("select", "--models", "one,two", *ENOUGH, "--csv").out.splitlines()
    assert len(lines) == 1 + 10
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    assert [row["feature"] for row in rows if row["chosen"] == "true"] == ["one:2", "two:2"]
    assert all(float(row["ci95_low"]) <= float(row["accuracy"]) for row in rows)
    assert all(row[name] for row in rows for name in SCORES)


def test_a_tiny_budget_takes_the_fixed_depth_and_says_so(filled):
    ran = filled("select", "--models", "one", *FAST, "--budget", "0.00001s")
    assert ran.code == 0
    assert "note: the budget paid for no comparison of the layers of one" in ran.err
    assert "one:2: chosen by fixed depth 0.6; how sure that is, is not known." in ran.out


def test_another_score_is_shown_instead_of_accuracies(filled):
    ran = filled("select", "--models", "one", *FAST, "--budget", "1000%", "--score", "logme")
    assert "tiny, one: logme" in ran.out
    assert "one:2: chosen by logme" in ran.out


def test_a_finished_sweep_says_what_the_choice_loses(filled):
    words = ("--models", "one", *FAST)
    assert filled("sweep", *words, "--probe", "mlp", "--show-test", "--no-baselines").code == 0
    ran = filled("select", *words, "--budget", "100000%")
    assert re.search(
        r"held against the mlp sweep \w{8} feature points behind one:2 "
        r"\(95 %; test n = 60, 1 seed\)",
        " ".join(ran.out.split()),
    )
    assert re.search(r"^chosen +one:2 +0\.0 \[", ran.out, re.M)
    assert re.search(r"^last +one:4 +\d+\.\d \[", ran.out, re.M)
    assert "Spearman correlation with it over 5 layers (95 %)" in ran.out
    assert re.search(r"^ridge +[+-]\d\.\d\d \[", ran.out, re.M)


@pytest.mark.parametrize("budget", ["5", "ten", "0%"])
def test_a_budget_that_is_none_is_one_line(filled, budget):
    ran = filled("select", "--models", "one", "--budget", budget)
    assert ran.code == 1
    assert ran.err == f"Error: --budget {budget}: give a time such as 5s, or a share such as 10%\n"
