import re
import shlex
from pathlib import Path

import pytest

from cli.sweep import _next, _verdict
from lefcache.study import Row, Sweep

FAST = ("--width", 8, "--hidden", "8", "--dropout", "0.1", "--epochs", 3, "--lr", 0.01)


@pytest.fixture
def extracted(lef, fakes, texts):
    fakes(depth=24)
    for model in ("llama2", "nvembed"):
        assert lef("extract", "--data", texts, "--model", model).code == 0
    return lef


def test_the_users_own_command_works_exactly_so(extracted):
    ran = extracted(
        "fuse", "--models", "llama2:24,nvembed:last", "--op", "hadamard-res", *FAST, "--json"
    )
    assert ran.code == 0, ran.err
    found = ran.json
    assert found["features"] == ["llama2:24", "nvembed:last"]
    assert (found["op"], found["seeds"], found["n_test"]) == ("hadamard-res", 1, 10)
    for figure in ("val_accuracy", "test_accuracy", "test_macro_f1"):
        low, high = found[figure]["ci95"]
        assert 0 <= low <= found[figure]["mean"] <= high <= 1
        assert found[figure]["std"] == 0


def test_the_users_own_command_names_what_would_add_the_features(lef):
    ran = lef("fuse", "--models", "llama2:24,nvembed:last", "--op", "hadamard-res")
    assert ran.code == 1
    assert "add it with: lef extract --data demo --model llama2" in ran.err


def test_who_names_no_models_is_shown_some_of_the_own_cache(lef, fakes, texts):
    ran = lef("sweep")
    assert ran.code == 2
    assert "Nothing is in the cache yet; start with: lef extract --model minilm" in ran.err
    fakes(depth=4)
    assert lef("extract", "--data", texts, "--model", "one").code == 0
    for study, models in (("sweep", "one"), ("fuse", "one:3,one:last")):
        ran = lef(study, "--seeds", 2)
        assert (ran.code, ran.out) == (2, "")
        shown = ran.err.split("For example: ")[1].strip()
        assert shown == f"lef {study} --data reviews --models {models}"
        assert lef(*shlex.split(shown)[1:], *(FAST if study == "fuse" else ())).code == 0
    assert (
        lef("extract", "--data", texts, "--model", "two", "--pool", "max", "--cache", "c").code == 0
    )
    assert "lef fuse --cache c --data reviews --models two:3@max,two:last@max" in (
        lef("fuse", "--cache", "c").err
    )
    assert lef("extract", "--data", texts, "--model", "two").code == 0
    assert "--models one:last,two:last" in lef("fuse", "--data", "reviews").err


def test_a_finished_fusion_is_not_trained_again(extracted):
    words = ("fuse", "--models", "llama2:1,nvembed:2", *FAST, "--seeds", 2, "--json")
    first, second = extracted(*words).json, extracted(*words).json
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["test_accuracy"] == second["test_accuracy"]
    other = extracted(*words, "--seed", 5).json
    assert other["cached"] is False


@pytest.mark.parametrize("study", ["fuse", "sweep"])
def test_a_read_only_cache_gives_its_figures_and_says_that_it_keeps_none(
    extracted, read_only, study
):
    words = (study, "--models", "llama2:1,nvembed:2", *(FAST if study == "fuse" else ()))
    shown = read_only(Path("lef-cache").resolve())
    ran = extracted(*words, "--cache", shown)
    assert ran.code == 0, ran.err
    assert "n = 10" in ran.out or "accuracy, test" in ran.out
    assert "Result" not in ran.out
    assert re.search(r"note: these figures are not kept.*Read-only file system: copy the", ran.err)
    assert extracted(*words).code == 0  # what is kept by others is taken from there
    ran = extracted(*words, "--cache", shown)
    assert "taken from the results folder" in ran.out
    assert "not kept" not in ran.err


def test_fuse_prints_n_and_intervals(extracted):
    ran = extracted("fuse", "--models", "llama2:1,nvembed:2", *FAST)
    assert "accuracy, test" in ran.out
    assert "95 % interval" in ran.out
    assert "One seed: these intervals cover the texts only" in ran.out


def test_the_papers_protocol_is_labelled_wherever_it_is_shown(extracted):
    words = ("fuse", "--models", "llama2:1,nvembed:2", *FAST, "--protocol", "paper")
    ran = extracted(*words)
    assert "(protocol paper: best epoch on the test)" in ran.out
    assert "chosen on the test itself" in ran.out
    assert "accuracy, validation" not in ran.out
    assert "--protocol paper" in next(x for x in ran.out.splitlines() if x.startswith("Next"))
    assert "these figures are too good" in ran.err
    assert extracted(*words, "--json").json["protocol"] == "paper"
    saved = extracted(*words, "--save", "head", "--seeds", 2)
    assert ", the best of 2 on the test itself, in head." in saved.out
    assert '"protocol": "paper"' in Path("head/head.json").read_text()


def test_each_class_is_reported(extracted):
    words = ("fuse", "--models", "llama2:1,nvembed:2", *FAST)
    ran = extracted(*words, "--per-class")
    assert "each class on the test (n = 10)" in ran.out
    assert "log-loss, test" in ran.out
    table = extracted(*words, "--per-class", "--csv").out.splitlines()
    assert table[0] == "class,precision,recall,f1,n"
    assert len(table) == 3
    assert [row["class"] for row in extracted(*words, "--json").json["per_class"]] == ["n", "y"]


@pytest.mark.parametrize("study", [("sweep",), ("fuse", *FAST)])
def test_without_a_test_there_is_no_report_of_each_class(small, study):
    ran = small(train=40)(*study, "--models", "fake:1..2", "--per-class")
    assert (ran.code, "each class on the test" in ran.out) == (0, False)
    assert "note: no report of each class: the corpus has no test with labels" in ran.err


def test_a_mix_of_all_layers_shows_their_weights(extracted):
    words = ("fuse", "--models", "llama2:all", "--op", "mix", *FAST)
    ran = extracted(*words)
    assert "llama2:0 + ... + llama2:last (26 features), mix" in ran.out
    assert re.search(r"What each layer counts for\n.*\nllama2:0 +\d+\.\d +[█▏▎▍▌▋▊▉]", ran.out)
    weights = extracted(*words, "--json").json["layer_weights"]
    assert len(weights) == 26
    assert sum(share["mean"] for share in weights.values()) == pytest.approx(1)
    ran = extracted("fuse", "--models", "llama2:all,nvembed:2", "--op", "mix", *FAST)
    assert "Error: mix adds up layers of one model, and these are of llama2 and nvembed" in ran.err


def test_a_width_that_does_not_divide_is_one_line_with_the_next_ones(extracted):
    ran = extracted("fuse", "--models", "llama2:1,nvembed:2", "--op", "quaternion", "--width", 1022)
    assert ran.code == 1
    assert ran.err.endswith("width 1022 is no multiple of 4: give width 1020 or 1024\n")


def test_every_setting_is_a_flag_and_the_next_command_repeats_it(extracted):
    words = ("--models", "llama2:1,nvembed:2", *FAST, "--standardise", "--weight-decay", 0.01)
    ran = extracted("fuse", *words, "--class-weights", "balanced", "--patience", 1)
    assert ran.code == 0, ran.err
    [following] = re.findall("Next: lef (fuse .*)", ran.out)
    given = "--patience 1 --weight-decay 0.01 --class-weights balanced --standardise --seeds 5"
    assert following.endswith(given)
    again = extracted(*shlex.split(following), "--json")
    assert again.json["recipe"]["standardise"] is True
    assert again.json["recipe"]["class_weights"] == "balanced"
    ran = extracted("sweep", "--models", "llama2:1", "--weight-decay", 1)
    assert "--weight-decay: for --probe mlp" in ran.err


def test_the_authors_code_is_a_preset_and_flags_are_taken_over_it(extracted):
    words = ("fuse", "--models", "llama2:1,nvembed:2", "--op", "vote", "--preset", "released")
    found = extracted(*words, "--epochs", 2, "--hidden", "8,8", "--json").json
    assert (found["op"], found["recipe"]["preset"]) == ("vote", "released")
    assert [found["recipe"][name] for name in ("batch", "epochs")] == [1024, 2]
    assert found["recipe"]["dropout"] == [0.5, 0.3]
    ran = extracted(*words, "--epochs", 2, "--hidden", "8,8")
    assert re.search(r"epoch [12] of 2 \(the latest of the vote's heads\) chosen", ran.out)


def test_sweep_shows_the_test_to_the_chosen_layer_only(extracted):
    found = extracted("sweep", "--models", "llama2", "--json").json
    assert len(found["rows"]) == 26
    assert found["n_test"] == 10
    shown = [row["feature"] for row in found["rows"] if row["test_accuracy"] is not None]
    assert shown == [found["best"]]
    every = extracted("sweep", "--models", "llama2", "--show-test", "--json").json
    assert all(row["test_accuracy"] is not None for row in every["rows"])


def test_sweep_prints_bars_the_verdict_and_the_next_command(extracted):
    ran = extracted("sweep", "--models", "llama2:20..24,nvembed:all")
    assert "█" in ran.out
    assert "heads, 0 forward passes" in ran.out
    assert "Next: lef fuse --data reviews --models" in ran.out


def test_each_model_of_a_sweep_is_compared_with_itself(lef, fakes, texts):
    fakes(depth=3)
    for model in ("one", "two"):
        lef("extract", "--data", texts, "--model", model)
    ran = lef("sweep", "--models", "one,two:2..3")
    best = lef("sweep", "--models", "one,two:2..3", "--json").json["best"]
    other = {"one": "two", "two": "one"}[best.partition(":")[0]]
    assert f"best of {other}" in ran.out
    assert f"best of {best.partition(':')[0]}" not in ran.out
    assert re.search(rf"Next: lef fuse .* --models {best},{other}:\S+ ", ran.out)
    assert not re.search(r"one:\S+ is .*, two:|two:\S+ is .*, one:", ran.out)


def test_settings_that_a_ridge_would_ignore_are_a_usage_error(extracted):
    ran = extracted("sweep", "--models", "llama2:1", "--epochs", 3)
    assert ran.code == 2
    assert "--epochs: for --probe mlp" in ran.err
    ran = extracted("sweep", "--models", "llama2:1", "--seeds", 3)
    assert (ran.code, "--probe ridge is the same for every seed" in ran.err) == (0, True)
    assert "every seed" not in extracted("sweep", "--models", "llama2:1").err


def test_a_head_that_was_still_learning_is_told(extracted):
    ran = extracted("fuse", "--models", "llama2:1,nvembed:2", *FAST, "--epochs", 1)
    assert "raise --epochs" in ran.out


def test_the_mlp_probe_sweeps_too(extracted):
    found = extracted("sweep", "--models", "llama2:1..2", "--probe", "mlp", *FAST, "--json").json
    assert [row["feature"] for row in found["rows"]] == ["llama2:1", "llama2:2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--models", "llama2:25"), "no layer 25 in llama2: it has 0..24, last"),
        (("--models", "llama2:3@max"), "--pool max"),
        (("--models", "mistral:3"), "lef extract"),
        (("--models", "llama2:x"), "there is no layer 'x'"),
        (("--models", "llama2:1,,"), "empty item"),
        (("--models", "llama2:1", "--data", "other"), "other/llama2/train is not in the cache"),
    ],
)
def test_a_feature_that_is_not_there_is_one_line_with_the_fix(extracted, words, message):
    ran = extracted("fuse", *words)
    assert ran.code == 1
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_show_tells_what_an_entry_was_made_from(extracted):
    assert "max_length" in extracted("show", "reviews/llama2/train").out
    shown = extracted("show", "reviews/llama2/train", "--json").json
    assert shown["spec"]["dtype"] == "float32"
    assert extracted("show", "reviews", "--json").json["splits"] == {"train": 40, "test": 10}
    assert extracted("show", "reviews/llama2", "--json").json["depth"] == 24
    assert extracted("show", "nothing").code == 1
    assert extracted("show", "reviews/llama2/dev").code == 1
    assert extracted("show", "a/b/c/d").code == 1
    layer = extracted("show", "reviews/llama2:3", "--json").json
    assert {split: [*arrays] for split, arrays in layer.items()} == {
        "train": ["mean/3"],
        "test": ["mean/3"],
    }
    assert layer["test"] == {
        "mean/3": extracted("show", "reviews/llama2/test", "--json").json["arrays"]["mean/3"]
    }
    assert "(did you mean reviews/llama2:3?)" in extracted("show", "reviews/llama2/3").err
    assert re.search(
        "train\n +mean/3 +40 x 2 float", extracted("show", "reviews/llama2/mean/3").out
    )


def test_ls_lists_each_split_with_the_promised_keys(extracted, lef):
    entries = extracted("ls", "--json").json
    assert [each["split"] for each in entries] == ["train", "test"] * 2
    keys = (
        "corpus",
        "model",
        "split",
        "layers",
        "pools",
        "rows",
        "done_rows",
        "width",
        "dtype",
        "bytes",
    )
    assert all(key in entry for entry in entries for key in keys)
    assert "reviews/llama2/train" in extracted("ls").out
    assert lef("ls", "--cache", "nowhere", "--json").json == []


def suggested(ran):
    assert ran.code == 0, ran.err
    (line,) = (line for line in ran.out.splitlines() if line.startswith("Next: "))
    return shlex.split(line)[2:]


def test_sweep_suggests_what_runs_as_it_stands(extracted):
    for models in ("llama2:24", "llama2:20..24", "llama2:1,nvembed:2"):
        words = suggested(extracted("sweep", "--models", models))
        assert words[0] == "fuse"
        assert extracted(*words, *FAST).code == 0


@pytest.mark.parametrize(
    ("scores", "models"),
    [
        ({"a:1": 0.9, "a:2": 0.89, "b:1": 0.85}, "a:1,b:1"),
        ({"a:1": 0.9, "a:2": 0.89, "b:1": 0.5}, "a:1,a:2"),
        ({"a:1": 0.9, "b:1": 0.5}, "a:1"),
        ({"a:1": 0.9}, "a:1"),
        ({"a:last": 0.9, "a:1": 0.85, "b:1": 0.81, "c:2": 0.83}, "a:last,c:2"),
    ],
)
def test_the_best_feature_is_paired_with_one_that_adds_something(scores, models):
    rows = tuple(Row(feature, score, 0.0) for feature, score in scores.items())
    best = max(scores, key=scores.get)
    found = Sweep("tiny", "ridge", 1, "", 9, 9, 0, rows, best, (), 0.0)
    words = shlex.split(_next(found, "lef-cache"))
    assert words[words.index("--models") + 1] == models
    assert ("--op" in words) == ("," in models)


def test_fuse_suggests_the_same_heads_with_more_seeds(extracted):
    ran = extracted("fuse", "--models", "llama2:1,nvembed:2", *FAST)
    words = suggested(ran)
    again = extracted(*words, "--json").json
    assert again["seeds"] == 5
    assert (again["recipe"]["width"], again["recipe"]["hidden"]) == (8, [8])


@pytest.fixture
def small(lef, fakes, write_tsv):
    """A function that extracts a corpus of this many rows of each class in each split."""

    def make(classes="ny", **rows):
        splits = {
            split: [
                (f"{'word ' * place}{split} {row}", each)
                for place, each in enumerate(classes, 1)
                for row in range(number)
            ]
            for split, number in rows.items()
        }
        assert lef("extract", "--data", write_tsv("small", **splits), "--model", "fake").code == 0
        return lef

    return make


@pytest.mark.parametrize("study", ["sweep", "fuse"])
def test_labels_that_were_not_read_are_named_with_the_flag_that_reads_them(
    lef, fakes, write_tsv, study
):
    rows = [(f"text {number}", "ny"[number % 2]) for number in range(12)]
    folder = write_tsv("mine", header="text\tverdict", train=rows, test=rows[:6])
    ran = lef("extract", "--data", folder, "--model", "fake", "--layers", "1")
    assert (ran.code, ran.out.count("lef sweep")) == (0, 1)
    refused = lef(study, "--models", "fake:1")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "no text of mine/train has a label" in refused.err
    assert refused.err.removeprefix("Error: ") in ran.out
    words = shlex.split(refused.err.rpartition(": lef ")[2].replace("COLUMN", "verdict"))
    again = lef(*words)
    assert "0 blocks computed, 1 there before" in again.out
    assert lef(study, "--models", "fake:1", *(FAST if study == "fuse" else ())).code == 0


@pytest.mark.parametrize("study", ["sweep", "fuse"])
def test_a_train_that_is_not_there_is_named_with_what_brings_it(lef, fakes, texts, study):
    assert lef("extract", "--data", texts, "--model", "fake", "--splits", "test").code == 0
    refused = lef(study, "--models", "fake:1")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "was not extracted on train; add it with: lef extract" in refused.err
    (texts / "train.tsv").unlink()
    assert lef("extract", "--data", f"bare={texts}", "--model", "fake").code == 0
    refused = lef(study, "--models", "fake:1", "--data", "bare")
    assert "Error: bare has no split train, which a study learns from" in refused.err


@pytest.mark.parametrize("study", ["sweep", "fuse"])
def test_one_class_is_no_study(small, study):
    ran = small("y", train=40)(study, "--models", "fake:1")
    assert (ran.code, ran.out) == (1, "")
    assert "every labelled row of train of small is 'y'" in ran.err


def test_figures_of_few_rows_are_told_apart_from_knowledge(small):
    lef = small(train=40, validation=1, test=1)
    for words in (("sweep",), ("fuse", *FAST)):
        ran = lef(*words, "--models", "fake:1..2", "--json")
        assert "note: only 2 rows to choose on, 50 points each" in ran.err
        assert "note: only 2 test rows, 50 points each: the interval is all there is" in ran.err
        assert ran.json["n_test"] == 2


def test_figures_of_many_rows_have_no_such_note(small):
    lef = small(train=40, validation=15, test=15)
    assert "note" not in lef("sweep", "--models", "fake:1").err


def test_what_was_chosen_by_is_english(small):
    lef = small(train=40)
    ran = lef("fuse", "--models", "fake:1", *FAST, "--seeds", 2)
    assert re.search(r"; epochs \d, \d of 3 chosen on rows carved from train; 2 seeds", ran.out)
    assert "; epoch " in lef("fuse", "--models", "fake:1", *FAST).out
    left_out = lef("sweep", "--models", "fake")
    carved = lef("sweep", "--models", "fake:1..2", "--probe", "mlp", *FAST)
    assert "accuracy by leave-one-out (n = 80)" in left_out.out
    assert "accuracy on rows carved from train (n = 8)" in carved.out


def test_a_layer_that_is_no_better_is_not_said_to_be_above():
    rows = tuple(Row(feature, 0.5, 0.0) for feature in ("a:1", "a:2"))
    found = Sweep("tiny", "ridge", 1, "", 9, 9, 0, rows, "a:1", ("a:2",), 0.0)
    assert "a:1 is as good as the last layer, a:2." in _verdict(found, {"a:2"})
    assert "a:1 is as good as the deepest layer here, a:2." in _verdict(found, set())


@pytest.mark.parametrize("listing", ["data", "models"])
def test_a_listing_suggests_what_runs(lef, listing):
    *_, line = lef(listing).out.splitlines()
    words = shlex.split(line.partition(": lef ")[2])
    assert words[0] == listing
    assert lef(*words).code == 0
