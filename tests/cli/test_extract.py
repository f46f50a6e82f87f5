import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import lefcache
from lefcache.extract import MODELS
from lefcache.registry import ModelEntry


def interrupt_in_block(block):
    """Ctrl-C while this block of train is in the model."""
    before = Path("lef-cache/reviews/fake/train")
    ledger = before / f"ledger/0/c/{block - 1}/0" if block else before / "zarr.json"

    def stop(batch):
        if ledger.exists():
            raise KeyboardInterrupt

    return stop


KEYS = {
    "rows", "blocks", "computed_blocks", "skipped_blocks", "tokens", "truncated", "seconds",
    "load_seconds", "bytes", "path",
}  # fmt: skip


def test_the_users_own_command_works_exactly_so(lef, model_folder, monkeypatch, texts):
    monkeypatch.setitem(MODELS, "mistral", ModelEntry(str(model_folder("llama"))))
    monkeypatch.setenv("LEF_DATA", str(texts))
    ran = lef("extract", "--model", "mistral", "--all-layers")
    assert ran.code == 0, ran.err
    cache = lefcache.open("lef-cache")
    pages = cache["reviews"]["mistral"]["train"]
    assert pages.layers("mean") == [*range(pages.depth + 1), "last"]
    assert cache.rows("mistral:last").shape[0] == 40


def test_the_bundled_decoder_needs_nothing_but_the_package(lef):
    ran = lef("extract", "--data", "demo", "--model", "tinylm", "--limit", 50, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["rows"], ran.json["truncated"]) == (150, 0)
    cache = lefcache.open("lef-cache")
    depth = cache["demo"]["tinylm"]["train"].depth
    raw, last = (cache.rows(f"tinylm:{layer}", data="demo")[:] for layer in (depth, "last"))
    assert np.isfinite(raw).all()
    assert np.abs(raw - last).max() > 0.1


def test_json_is_one_document_with_the_promised_keys(lef, fakes, texts):
    ran = lef("extract", "--data", texts, "--model", "fake", "--json")
    assert set(ran.json) >= KEYS
    assert (ran.json["rows"], ran.json["computed_blocks"], ran.json["blocks"]) == (50, 2, 2)
    again = lef("extract", "--data", texts, "--model", "fake", "--json")
    assert (again.json["computed_blocks"], again.json["skipped_blocks"]) == (0, 2)
    assert again.json["tokens"] == ran.json["tokens"]


def test_several_models_give_a_list(lef, fakes, texts):
    ran = lef("extract", "--data", texts, "--model", "one", "--model", "two", "--json")
    assert [each["model"] for each in ran.json] == ["one", "two"]


def test_it_says_what_it_takes_and_what_comes_next(lef, fakes, texts):
    ran = lef("extract", "--data", texts, "--model", "fake")
    for words in ("to compute: 50 rows", "tokens", "to write: 5 arrays", "free on that disk"):
        assert words in ran.err
    assert "Next: lef sweep --data reviews --models fake" in ran.out


def test_bfloat16_is_stored_and_shown(lef, fakes, texts):
    words = ("--model", "fake", "--data", texts, "--store-dtype", "bfloat16")
    expected = lef("extract", *words, "--dry-run", "--json").json
    assert expected["bytes"] == 5 * (64 + 64) * 2 * 2  # two splits, each in whole chunks
    assert lef("extract", *words).code == 0
    assert {entry["dtype"] for entry in lef("ls", "--json").json} == {"bfloat16"}
    shown = lef("show", "reviews/fake/train").out
    assert re.search(
        r"mean/last  40 x 2 bfloat16, chunks of 64 rows, [0-9.]+ k?B, up to 38, mean norm", shown
    )
    assert lef("sweep", "--models", "fake").code == 0


def test_show_tells_the_largest_magnitude_of_each_array(lef, fakes, texts):
    assert lef("extract", "--model", "fake", "--data", texts, "--block-rows", 8).code == 0
    shown = lef("show", "reviews/fake/train", "--json").json
    cache = lefcache.open("lef-cache")
    for layer, rows in cache["reviews"]["fake"]["train"]["mean"].items():
        array = shown["arrays"][f"mean/{layer}"]
        assert array["largest"] == float(np.abs(rows[:]).max())
        norms = np.linalg.norm(rows[:8].astype(np.float32), axis=1)  # of a block
        assert array["norm"] == pytest.approx(norms.mean())
        assert array["bytes"] > rows.nbytes
    assert shown["arrays"]["tokens"]["largest"] == shown["rows"]["longest"]
    shutil.rmtree("lef-cache/reviews/fake/train/magnitudes")  # made by an older lefcache
    shown = lef("show", "reviews/fake/train", "--json").json
    assert shown["arrays"]["mean/1"]["largest"] is None
    assert "up to" not in lef("show", "reviews/fake/train").out


def test_a_dry_run_writes_nothing(lef, fakes, texts, tmp_path):
    ran = lef("extract", "--data", texts, "--model", "fake", "--dry-run", "--json")
    assert ran.json["rows"] == 50
    assert not (tmp_path / "lef-cache").exists()


def test_of_several_ranks_only_the_first_one_speaks(lef, fakes, texts, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    ran = lef("extract", "--data", texts, "--model", "fake", "--dry-run")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_too_small_a_disk_is_refused_before_it_is_full(lef, fakes, texts, monkeypatch):
    monkeypatch.setattr("lefcache.extract.expected.disk_usage", lambda _: Free(10))
    ran = lef("extract", "--data", texts, "--model", "fake")
    assert ran.code == 1
    assert "10 B are free" in ran.err
    assert "--cache" in ran.err


class Free:
    def __init__(self, free):
        self.free = free


def test_ctrl_c_leaves_a_cache_that_the_printed_command_finishes(lef, fakes, texts, monkeypatch):
    whole = lef(
        "extract", "--cache", "whole", "--data", texts, "--model", "fake", "--block-rows", 8
    )
    assert whole.code == 0
    words = ["extract", "--data", str(texts), "--model", "fake", "--block-rows", "8"]
    monkeypatch.setattr(sys, "argv", ["lef", *words])
    fakes(on_forward=interrupt_in_block(2))
    ran = lef(*words)
    assert ran.code == 130
    command = ran.err.strip().splitlines()[-1].strip()
    assert command == shlex.join(["lef", *words])
    fakes()
    unfinished = lef("ls").out
    assert "is not finished" in unfinished
    assert lef(*shlex.split(command)[1:]).code == 0
    for layer in ("0", "3", "last"):
        done = [np.asarray(lefcache.open(c).rows(f"fake:{layer}")) for c in ("lef-cache", "whole")]
        np.testing.assert_array_equal(*done)


@pytest.mark.parametrize("block", [0, 1, 3])
def test_ls_shows_the_command_that_finishes_an_extraction(lef, fakes, texts, block):
    fakes(on_forward=interrupt_in_block(block))
    flags = ("--pool", "max", "--layers", "1..2", "--max-length", 9, "--block-rows", 8)
    assert lef("extract", "--data", texts, "--model", "fake", *flags).code == 130
    fakes()
    entries = lef("ls", "--json").json
    train, test = entries if entries[0]["split"] == "train" else entries[::-1]
    assert train["done_rows"] < train["rows"] == 40
    assert (test["done_rows"], test["unfinished"]) == (
        0,
        [f"0 of {test['rows']} rows; max: layers 1..2"],
    )
    # One command for both splits, also for the one that was not begun.
    (command,) = (line for line in lef("ls").out.splitlines() if line.startswith("  lef extract"))
    assert lef(*shlex.split(command)[1:]).code == 0
    for entry in lef("ls", "--json").json:
        assert entry["resume"] is None
        assert (entry["layers"], entry["pools"]) == ([1, 2], ["max"])
        assert entry["done_rows"] == entry["rows"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layers", "7"], "no layer 7 in this model: it has 0..3, last"),
        (["--pool", "median"], "no pool 'median'"),
        (["--splits", "dev"], "no split validation: it has train, test"),
        (["--block-rows", "24"], "not a power of two"),
        (["--text-column", "body"], "no column 'body': it has text, label"),
        (["--label-column", "stars"], "no column 'stars': it has text, label"),
    ],
)
def test_a_mistake_is_one_line_with_its_fix(lef, fakes, texts, words, message):
    ran = lef("extract", "--data", texts, "--model", "fake", *words)
    assert ran.code == 1
    (line,) = (line for line in ran.err.splitlines() if line.startswith("Error: "))
    assert message in line
    assert not ran.out


def test_who_names_no_model_is_told_where_they_are(lef):
    ran = lef("extract")
    assert ran.code == 2
    assert "--model minilm, which needs no download; `lef models` lists the others" in ran.err


def test_flags_that_exclude_each_other_are_a_usage_error(lef, fakes, texts):
    base = ("extract", "--data", texts, "--model", "a", "--model", "b")
    assert lef(*base, "--as", "c").code == 2
    assert lef(*base, "--all-layers", "--layers", "1").code == 2


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (["--model", "a", "--pool", "mean, first"], "--pool mean --pool first"),
        (["--model", "a,n=./b c"], "--model a --model 'n=./b c'"),
    ],
)
def test_a_list_is_told_to_repeat_the_flag(lef, fakes, texts, words, again):
    ran = lef("extract", "--data", texts, *words)
    assert ran.code == 2
    assert f"repeat it for several: {again}" in ran.err


def test_a_folder_may_have_a_comma_in_its_name(lef, fakes, texts, tmp_path):
    (tmp_path / "a,b").mkdir()
    assert lef("extract", "--data", texts, "--model", "m=a,b").code == 0


def test_other_settings_are_refused_with_the_difference(lef, fakes, texts):
    assert lef("extract", "--data", texts, "--model", "fake").code == 0
    ran = lef("extract", "--data", texts, "--model", "fake", "--max-length", 4)
    assert ran.code == 1
    assert "max_length: 512 in the cache, 4 now" in ran.err
    assert lef("extract", "--data", texts, "--model", "fake", "--as", "short").code == 0


def test_auto_means_what_the_cache_was_made_with(lef, model_folder, texts):
    words = ("extract", "--data", texts, "--model", f"m={model_folder('llama')}", "--layers", "1")
    assert lef(*words, "--dtype", "bfloat16", "--attention", "eager").code == 0
    for again in ((), ("--dtype", "auto", "--attention", "auto")):
        ran = lef(*words, *again, "--json")
        assert ran.json["computed_blocks"] == 0
    assert "dtype: 'bfloat16' in the cache, 'float32' now" in lef(*words, "--dtype", "float32").err


def test_a_changed_text_is_refused_with_its_row(lef, fakes, texts):
    assert lef("extract", "--data", texts, "--model", "fake").code == 0
    file = texts / "train.tsv"
    file.write_text(file.read_text().replace("word 16\t", "word 16!\t"))
    ran = lef("extract", "--data", texts, "--model", "fake")
    assert ran.code == 1
    assert "row 16 (counted from 0) is another text" in ran.err


def test_a_label_that_train_lacks_is_a_note_at_extraction_and_an_error_at_training(
    lef, fakes, texts
):
    with (texts / "test.tsv").open("a") as file:
        file.write("one more\tperhaps\n")
    ran = lef("extract", "--data", texts, "--model", "fake")
    assert ran.code == 0
    assert "test has labels that train lacks: perhaps" in ran.err
    swept = lef("sweep", "--models", "fake")
    assert swept.code == 1
    assert "perhaps" in swept.err


def test_a_corpus_known_to_the_cache_is_found_again_by_name(lef, fakes, texts, tmp_path):
    rows = (texts / "train.tsv").read_text().replace("text\tlabel", "body\tmood", 1)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "train.tsv").write_text(rows)
    columns = ("--text-column", "body", "--label-column", "mood")
    assert lef("extract", "--data", f"mine={tmp_path}/deep", "--model", "one", *columns).code == 0
    assert lef("extract", "--data", "mine", "--model", "two").code == 0
    assert lef("extract", "--model", "three").code == 0
    assert set(lefcache.open("lef-cache")["mine"]) == {"one", "two", "three"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pool", "maen"], "did you mean mean?"),
        (["--layers", "1,,2"], "empty item"),
        (["--layers", "lst"], "no layer 'lst'"),
        (["--splits", "trian"], "no split 'trian'"),
    ],
)
def test_misspelt_choices_are_refused_before_the_model_is_loaded(
    lef, texts, monkeypatch, words, message
):
    def load(*_, **__):
        raise AssertionError("loaded")

    monkeypatch.setattr(lefcache.extract, "load_backbone", load)
    ran = lef("extract", "--data", texts, "--model", "fake", *words)
    assert ran.code == 1
    assert message in ran.err


def next_line(ran):
    assert ran.code == 0, ran.err
    return ran.out.splitlines()[-1]


def test_what_comes_next_can_be_typed_as_it_stands(lef, fakes, texts):
    for pool in ("mean", "max"):
        ran = lef(
            "extract", "--cache", f"{pool} d", "--data", texts, "--model", "m", "--pool", pool
        )
        line = next_line(ran)
        assert line.startswith(f"Next: lef sweep --cache '{pool} d' ")
        assert lef(*shlex.split(line)[2:]).code == 0


def test_columns_are_named_once_for_a_folder(lef, fakes, write_tsv, tmp_path):
    rows = [(f"text {number}", "ny"[number % 2]) for number in range(8)]
    folder = write_tsv("mine", header="body\tmark", train=rows)
    words = ("extract", "--data", folder, "--model")
    refused = lef(*words, "one", "--text-column", "Body")
    assert "no column 'Body' (did you mean body?)" in refused.err
    assert lef(*words, "one", "--text-column", "body").code == 0
    labelled = lef(*words, "one", "--label-column", "mark")
    assert "mine: read as before, with --text-column body\n" in labelled.err
    again = lef(*words, "two")
    assert "mine: read as before, with --text-column body --label-column mark\n" in again.err
    assert lef("sweep", "--models", "one,two").code == 0
    both = ("--text-column", "body", "--label-column", "mark")
    assert "as before" not in lef(*words, "one", *both).err
    other = lef(*words, "one", "--text-column", "mark")
    assert (other.code, "is another text" in other.err) == (1, True)
    elsewhere = write_tsv("elsewhere/mine", header="body\tmark", train=rows)
    assert "no column 'text'" in lef("extract", "--data", elsewhere, "--model", "one").err
    write_tsv("mine", header="words\tmark", train=rows)
    assert "no column 'body'" in lef(*words, "two").err
    assert lef(*words, "two", "--text-column", "words").code == 0


def test_texts_without_labels_come_with_what_they_lack(lef, fakes, tmp_path):
    (tmp_path / "train.tsv").write_text("text\na cat\nno\n")
    line = next_line(lef("extract", "--data", f"bare={tmp_path}", "--model", "fake"))
    assert line.startswith("Before lef sweep can run: ")
    assert "no text of bare/train has a label" in line
    assert "--label-column COLUMN" in line


def test_a_label_in_test_alone_comes_before_the_sweep(lef, fakes, texts):
    with (texts / "test.tsv").open("a") as file:
        file.write("one more\tperhaps\n")
    line = next_line(lef("extract", "--data", texts, "--model", "fake"))
    assert "'perhaps' of test of reviews never occurs in train" in line


def test_a_train_split_that_was_left_out_is_added_first(lef, fakes, texts):
    line = next_line(lef("extract", "--data", texts, "--model", "fake", "--splits", "test"))
    command = line[line.index("lef extract") :]
    assert "--splits train" in command
    assert "Next: lef sweep" in next_line(lef(*shlex.split(command)[1:]))


def test_one_of_a_thing_is_said_as_one(lef, fakes, tmp_path):
    (tmp_path / "train.tsv").write_text("text\tlabel\nyes\ty\n")
    ran = lef("extract", "--data", f"one={tmp_path}", "--model", "fake", "--layers", "1")
    assert "to compute: 1 row, about 1 token" in ran.err
    assert "to write: 1 array of" in ran.err
    assert "done: 1 row, 1 token, 0 texts cut; 1 block computed" in ran.out


def test_the_command_takes_it_with_and_without_a_value(chatty, lef, tmp_path):
    (tmp_path / "two.tsv").write_text("text\na cat\nno\n")
    words = ("extract", "--data", "two.tsv", "--model", chatty, "--cache", "one")
    assert lef(*words, "--chat-template", "--dtype", "float32").code == 0
    again = lef(*words, "--json", "--chat-template", "<s> very {text} no </s> yes it")
    assert (again.code, again.json["computed_blocks"]) == (0, 0)
    assert lef(*words, "--json", "--chat-template").json["computed_blocks"] == 0
    refused = lef(*words)
    assert refused.code == 1
    assert "chat_template" in refused.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--device", "cpu", "--device-map", "auto"), "exclude each other"),
        (("--offload-folder", "there"), "goes with --device-map auto"),
        (("--device-map", "balanced"), "Invalid value"),
    ],
)
def test_devices_that_cannot_be_meant_are_usage(lef, fakes, flags, told):
    ran = lef("extract", "--model", "fake", *flags)
    assert (ran.code, told in ran.err) == (2, True)


def test_a_model_is_spread_when_asked_for(lef, model_folder, texts):
    ran = lef("extract", "--data", texts, "--model", model_folder("llama"), "--device-map", "auto")
    assert ran.code == 0, ran.err
    assert "note: spread by accelerate: all on " in ran.err
    assert "device_map" in lef("show", "reviews/llama/train").out


def test_a_corpus_that_the_model_has_seen_is_noted_once_and_before_the_work(lef, fakes, texts):
    ran = lef("extract", "--data", f"imdb={texts}", "--model", "nvembed")
    assert ran.err.count("note: nvembed was trained on imdb") == 1
    assert "trained on" not in ran.out
    assert "trained on" not in lef("extract", "--data", texts, "--model", "nvembed").err


@pytest.fixture
def loaded(monkeypatch):
    """How many blocks each real model that was loaded had in memory."""
    counts, load = [], lefcache.extract.load_backbone

    def listen(*args, **settings):
        model = load(*args, **settings)
        counts.append(model.loaded)
        return model

    monkeypatch.setattr(lefcache.extract, "load_backbone", listen)
    return counts


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_model_is_loaded_only_as_deep_as_asked(
    lef, model_folder, texts, loaded, tree_bytes, family
):
    words = ("extract", "--data", texts, "--model", f"m={model_folder(family)}")
    words += ("--dtype", "float32", "--block-rows", 16)
    assert lef(*words, "--cache", "whole").code == 0
    ran = lef(*words, "--cache", "short", "--layers", "0..1")
    assert f"of its {loaded[0]} blocks only the first 2 are loaded" in ran.err
    assert lef(*words, "--cache", "short", "--layers", "last").code == 0  # asked for later
    assert loaded == [loaded[0], 2, loaded[0]]
    whole, short = (lefcache.open(name)["reviews"]["m"]["train"] for name in ("whole", "short"))
    assert (short.spec, short.depth) == (whole.spec, whole.depth)
    assert short.aliases == whole.aliases
    for layer in (0, 1, whole.aliases.get("last", "last")):
        array = f"reviews/m/train/mean/{layer}"
        assert tree_bytes(f"short/{array}") == tree_bytes(f"whole/{array}") != {}
    np.testing.assert_array_equal(short["mean"]["last"][:], whole["mean"]["last"][:])


def test_rows_added_to_deeper_layers_too_take_a_deeper_model(lef, model_folder, texts, loaded):
    words = ("extract", "--data", texts, "--model", f"m={model_folder('llama')}")
    assert lef(*words, "--limit", 5, "--layers", "1,2").code == 0
    assert lef(*words, "--limit", 8, "--layers", "1").code == 0
    assert loaded == [3, 3]
    done = lefcache.open("lef-cache")["reviews"]["m"]["train"].done
    assert set(done.values()) == {8}
    assert lef(*words, "--as", "whole", "--limit", 5).code == 0
    assert lef(*words, "--as", "whole", "--limit", 8, "--layers", "0").code == 0
    assert loaded == [3, 3, 4, 4]


def test_long_texts_are_cut_or_read_in_windows(model_folder, lef, tmp_path):
    (tmp_path / "two.tsv").write_text(f"text\nno\n{'very good ' * 100}\n")
    words = ("extract", "--data", "two.tsv", "--model", f"tiny={model_folder('bert')}")
    settings = ("--max-length", "12", "--long", "windows", "--dtype", "float32")
    assert lef(*words, *settings, "--json").json["tokens"] == 3 + 20 * 12
    assert "no text: read in windows of 12 tokens" in lef("show", "two/tiny/train").out
    refused = lef(*words, "--max-length", "12")
    assert (refused.code, "long: 'windows' in the cache" in refused.err) == (1, True)
    other = (*words, "--max-length", "12", "--as", "cut")
    assert "1 text cut" in lef(*other).out
