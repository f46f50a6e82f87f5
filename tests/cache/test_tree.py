"""The cache as a tree, as tables, and as messages that tell what to type."""

import re
import shlex
from dataclasses import replace

import numpy as np
import pytest

import lefcache
from lefcache.cache import open as open_cache
from lefcache.cache.display import html_table
from lefcache.corpus import Corpus, Split, read_corpus
from lefcache.errors import (
    CorpusError,
    DamagedError,
    FeatureError,
    IncompleteError,
    MismatchError,
    StorageError,
)
from lefcache.extract import extract, place_order
from lefcache.extract.order import request_for
from lefcache.feature import Feature
from lefcache.testing import FakeBackbone

FLAGS = {"--cache", "--data", "--model", "--layers", "--pool", "--splits", "--limit"}


@pytest.fixture
def filled(cache, make_corpus):
    """A corpus of two splits, a model of 3 layers pooled two ways."""
    corpus = make_corpus(9, test=["t one", "t two"])
    extract(FakeBackbone(), corpus, cache, pools=["mean", "max"], block_rows=16)
    return cache


@pytest.fixture
def interrupted(cache, write_tsv):
    """One finished block of two, with layers, pooling and settings that are no defaults."""
    folder = write_tsv("Odd Name", "quote'd\ttag", train=[(f"text {n}", "yes") for n in range(6)])
    corpus = read_corpus(folder, text_column="quote'd", label_column="tag")
    passes = []

    def stop(_):
        passes.append(1)
        if len(passes) > 2:
            raise KeyboardInterrupt

    backbone = FakeBackbone(max_length=77, on_forward=stop)
    with pytest.raises(KeyboardInterrupt):
        extract(backbone, corpus, cache, layers="1,last", pools=["max"], block_rows=2, limit=5)
    return cache


def parse(message):
    """The `lef extract` command at the end of a message, as {flag: value}."""
    words = shlex.split(message[message.rindex("lef extract") :])
    assert words[:2] == ["lef", "extract"]
    assert len(words) % 2 == 0
    return dict(zip(words[2::2], words[3::2], strict=True))


def stopped(corpus, cache, *, after=0, **choices):
    """An extraction that Ctrl-C ended after this many batches."""
    passes = []

    def stop(_):
        passes.append(1)
        if len(passes) > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(FakeBackbone(on_forward=stop), corpus, cache, **choices)


# As a tree


def test_the_tree_is_walked_as_it_lies_on_disk(filled):
    rows = filled["tiny"]["fake"]["train"]["mean"]["2"]
    assert rows.shape == (9, 2)
    assert (filled.path / "tiny/fake/train/mean/2/c/0/0").is_file()


@pytest.mark.parametrize(
    ("layer", "stored"), [(2, "2"), ("2", "2"), (-1, "3"), ("-2", "2"), ("last", "last")]
)
def test_a_layer_has_many_names(filled, layer, stored):
    layers = filled["tiny"]["fake"]["train"]["mean"]
    assert layer in layers
    file = filled.path / f"tiny/fake/train/mean/{stored}/c/0/0"
    assert layers[layer].extents[0].path == str(file)


def test_last_is_a_layer_also_where_it_is_another_ones_second_name(cache, make_corpus):
    backbone = FakeBackbone()
    backbone.layers, backbone.aliases = (0, 1, 2, 3), {"last": 3}
    extract(backbone, make_corpus(3), cache)
    layers = cache["tiny"]["fake"]["train"]["mean"]
    assert list(layers) == ["0", "1", "2", "3"]
    assert "last" in layers
    assert layers["last"].extents == layers[3].extents


@pytest.mark.parametrize("layer", [7, "7", -9, "x", "all", None, 1.5])
def test_what_is_no_layer_is_an_error_that_lists_them(filled, layer):
    layers = filled["tiny"]["fake"]["train"]["mean"]
    assert layer not in layers
    with pytest.raises(FeatureError, match=r"it has 0\.\.3, last|LAYER is a number|several|-4"):
        layers[layer]


def test_a_mean_of_layers_is_computed(filled):
    layers = filled["tiny"]["fake"]["train"]["mean"]
    both = (np.asarray(layers[1], np.float32) + np.asarray(layers[2], np.float32)) / 2
    np.testing.assert_array_equal(layers["1+2"], both)


def test_a_layer_that_is_not_whole_is_there_and_says_how_to_finish_it(interrupted):
    layers = interrupted["odd-name"]["fake"]["train"]["max"]
    assert 1 in layers
    with pytest.raises(IncompleteError, match="lef extract"):
        layers[1]


@pytest.mark.parametrize(
    ("look", "meant"),
    [
        (lambda cache: cache["tinny"], "tiny"),
        (lambda cache: cache["tiny"]["fakes"], "fake"),
        (lambda cache: cache.rows("fakke:1", data="tiny"), "fake"),
    ],
)
def test_a_name_that_is_nearly_right_is_offered(filled, look, meant):
    with pytest.raises(FeatureError, match=rf"did you mean {meant}\?"):
        look(filled)


def test_results_lie_in_the_cache(cache):
    assert cache.results == cache.path / "results"


def test_every_level_is_a_mapping(filled):
    assert list(filled) == ["tiny"]
    assert list(filled["tiny"]) == ["fake"]
    assert list(filled["tiny"]["fake"]) == ["train", "test"]
    assert list(filled["tiny"]["fake"]["test"]) == ["mean", "max"]
    assert list(filled["tiny"]["fake"]["test"]["mean"]) == ["0", "1", "2", "3", "last"]
    assert (len(filled), len(filled["tiny"]), len(filled["tiny"]["fake"])) == (1, 1, 2)


@pytest.mark.parametrize(
    "level",
    [
        lambda cache: cache,
        lambda cache: cache["tiny"],
        lambda cache: cache["tiny"]["fake"],
        lambda cache: cache["tiny"]["fake"]["train"],
    ],
    ids=["cache", "corpus", "model", "split"],
)
def test_what_is_not_there_is_not_in_the_mapping(filled, level):
    assert "nope" not in level(filled)
    assert level(filled).get("nope") is None
    assert next(iter(level(filled))) in level(filled)
    with pytest.raises(FeatureError, match="nope"):
        level(filled)["nope"]


@pytest.mark.parametrize("name", ["labels", "rows", "ledger"])
def test_what_is_reserved_is_no_model(filled, name):
    assert name not in list(filled["tiny"])
    with pytest.raises(FeatureError):
        filled["tiny"][name]


def test_repr_shows_what_is_inside(filled, tmp_path):
    assert "tiny/fake/train: 9 of 9 rows; mean: layers 0..3, last" in repr(filled)
    assert repr(open_cache(tmp_path / "none")).endswith("none (empty: no such folder yet)>")
    (tmp_path / "there").mkdir()
    assert repr(open_cache(tmp_path / "there")).endswith("there (empty)>")
    assert repr(filled["tiny"]["fake"]["train"]["max"]) == (
        "<tiny/fake/train/max: layers 0..3, last>"
    )
    assert repr(filled["tiny"]) == "<tiny: fake>"
    assert repr(filled["tiny"]["fake"]) == "<tiny/fake: train, test>"


def test_html_shows_what_is_inside(filled):
    page = filled._repr_html_()
    corpus = filled["tiny"]
    for place in (filled, corpus, corpus["fake"], corpus["fake"]["train"]):
        assert place._repr_html_().startswith("<table>")
        assert "<td>9</td>" in place._repr_html_()
    for cell in ("tiny", "fake", "0..3, last", "mean, max", "float16"):
        assert f"<td>{cell}</td>" in page


def test_html_escapes_whatever_it_shows(tmp_path, make_corpus):
    cache = open_cache(tmp_path / "<script>alert(1)")
    extract(FakeBackbone(), make_corpus(3), cache)
    assert "<script>" not in cache._repr_html_()
    [entry] = cache.ls()
    page = html_table("<i>", [entry | {"model": "<b>&"}])
    assert "<i>" not in page
    assert "<td>&lt;b&gt;&amp;</td>" in page


def test_opening_and_reading_write_nothing(tmp_path):
    cache = open_cache(tmp_path / "none")
    assert (list(cache), cache.ls(), len(cache)) == ([], [], 0)
    repr(cache)
    assert not (tmp_path / "none").exists()


def test_ls_says_how_much_is_there(filled):
    train, test = filled.ls()
    wanted = {"corpus": "tiny", "model": "fake", "split": "train", "rows": 9, "done_rows": 9}
    assert wanted.items() <= train.items()
    assert train["layers"] == [0, 1, 2, 3, "last"]
    assert (train["pools"], train["width"], train["dtype"]) == (["mean", "max"], 2, "float16")
    assert train["bytes"] > 0
    assert train["resume"] is None
    assert (test["split"], test["rows"]) == ("test", 2)


def test_an_added_pooling_does_not_make_the_old_one_look_unfinished(cache, make_corpus):
    corpus = make_corpus(9)
    extract(FakeBackbone(), corpus, cache, layers="1,2", block_rows=2)
    stopped(corpus, cache, layers="1", pools=["max"])
    [entry] = cache.ls()
    assert entry["done_rows"] == entry["rows"] == 9
    assert entry["unfinished"] == ["0 of 9 rows; max: layers 1"]
    command = parse(entry["resume"])
    assert (command["--layers"], command["--pool"]) == ("1", "max")
    extract(FakeBackbone(), corpus, cache, layers="1", pools=["max"], limit=3)
    [entry] = cache.ls()
    assert entry["done_rows"] == 4
    assert entry["unfinished"] == ["4 of 9 rows; max: layers 1"]
    assert "--limit" not in parse(entry["resume"])
    assert repr(cache["tiny"]["fake"]["train"]) == (
        "<tiny/fake/train: 9 of 9 rows; mean: layers 1..2; 4 of 9 rows; max: layers 1>"
    )
    assert cache.rows("fake:2").shape == (9, 2)
    with pytest.raises(IncompleteError, match="tiny/fake/train/max/1 has 4 of 9 rows"):
        cache.rows("fake:1@max")


def test_a_split_without_its_first_block_can_be_looked_at(cache, make_corpus):
    stopped(make_corpus(3), cache)
    pages = cache.pages("fake")
    tokens, cut = pages.tokens()
    assert (tokens.tolist(), cut.tolist()) == ([0, 0, 0], [False] * 3)
    assert repr(pages) == "<tiny/fake/train: 0 of 3 rows>"
    with pytest.raises(IncompleteError, match="0 of 3 rows; finish it with: lef extract"):
        cache.rows("fake:1")


def test_ls_carries_the_command_that_finishes_an_interrupted_run(interrupted):
    [entry] = interrupted.ls()
    assert (entry["rows"], 0 < entry["done_rows"] < 5) == (5, True)
    assert parse(entry["resume"])["--model"] == "fake"


# Opening


def test_the_environment_names_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LEF_CACHE", str(tmp_path / "from-env"))
    assert open_cache().path == tmp_path / "from-env"
    assert open_cache(tmp_path / "given").path == tmp_path / "given"
    monkeypatch.delenv("LEF_CACHE")
    assert str(open_cache().path) == "lef-cache"


def test_a_file_is_no_cache(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="is a file, not a cache folder"):
        open_cache(tmp_path / "file")


def test_a_cache_of_a_newer_format_is_refused(filled):
    filled.store.set_attrs("", {"format": "lefcache", "version": 2})
    with pytest.raises(MismatchError, match=r"format 2, this one knows 1.*upgrade"):
        open_cache(filled.path)


def test_a_spec_of_a_newer_version_is_refused(filled):
    attrs = filled.store.attrs("tiny/fake")
    filled.store.set_attrs("tiny/fake", attrs | {"spec": attrs["spec"] | {"quantised": True}})
    with pytest.raises(MismatchError, match="quantised: upgrade lefcache"):
        filled.table("fake:1")


@pytest.mark.parametrize("node", ["", "tiny", "tiny/fake", "tiny/fake/train"])
def test_metadata_that_cannot_be_read_is_damage(filled, node):
    (filled.path / node / "zarr.json").write_text('{"torn')
    with pytest.raises(DamagedError, match="cannot be read"):
        open_cache(filled.path).table("fake:1", data="tiny")


# Which corpus


def test_the_only_corpus_is_meant(filled):
    assert filled.corpus() == "tiny"


def test_an_empty_cache_means_the_demo(cache):
    assert cache.corpus() == "demo"


def test_one_of_several_corpora_must_be_chosen(filled, make_corpus, monkeypatch):
    extract(FakeBackbone(), make_corpus(3, name="other"), filled)
    choose = "holds other, tiny: choose one with --data; the bundled texts are --data demo"
    with pytest.raises(FeatureError, match=choose):
        filled.rows("fake:1")
    assert filled.rows("fake:1", data="other").shape == (3, 2)
    monkeypatch.setenv("LEF_DATA", "/any/where/Tiny")
    assert filled.rows("fake:1").shape == (9, 2)
    assert filled.rows("fake:1", data="other=/any/where").shape == (3, 2)


# Rows and tables


def test_rows_take_a_feature_or_its_notation(filled):
    for feature in ("fake:2", "fake:-2", Feature("fake", 2), Feature("fake", -2)):
        np.testing.assert_array_equal(filled.rows(feature)[:2], filled.rows("fake:2@mean")[:2])


@pytest.mark.parametrize(
    ("text", "level"), [("0~2", 1.0), ("0+3", 1.5), ("-4~-1", 1.5), ("1+2", 1.5)]
)
def test_a_mean_of_layers_is_their_mean_in_float32(filled, text, level):
    rows = filled.rows(f"fake:{text}")
    assert rows.dtype == np.float32
    wanted = filled.rows("fake:0")[:][:, 0] + 10 * level
    np.testing.assert_array_equal(rows[:][:, 0], wanted.astype(np.float32))


def test_a_table_aligns_features_labels_and_specs(filled):
    table = filled.table(["fake:1", "fake:last@max"])
    assert [str(feature) for feature in table.features] == ["fake:1", "fake:last@max"]
    assert (len(table), table.widths, table.classes) == (9, (2, 2), ("no", "yes"))
    assert table.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert [spec.weights for spec in table.specs] == ["fake", "fake"]
    assert (table.corpus, table.split, len(table.texts)) == ("tiny", "train", 9)


def test_a_limited_extraction_has_the_labels_of_its_rows(cache, make_corpus):
    extract(FakeBackbone(), make_corpus(9), cache, limit=4)
    assert cache.table("fake:1").labels.tolist() == [0, 1, 0, 1]


def test_tables_are_those_of_the_splits_with_labels(filled, cache):
    assert list(filled.tables("fake:1")) == ["train", "test"]
    bare = Corpus(
        "bare",
        ("x",),
        {
            "train": Split(["a"], np.zeros(1, np.int32)),
            "test": Split(["b"]),
        },
    )
    extract(FakeBackbone(), bare, cache)
    assert list(cache.tables("fake:1", data="bare")) == ["train"]
    assert cache.table("fake:1", split="test", data="bare").labels is None


@pytest.mark.parametrize(
    ("wanted", "expanded"),
    [
        ("fake", ["fake:0", "fake:1", "fake:2", "fake:3", "fake:last"]),
        ("fake:all@max", [f"fake:{layer}@max" for layer in (0, 1, 2, 3, "last")]),
        ("fake:1..3", ["fake:1", "fake:2", "fake:3"]),
        ("fake:0..-1/2,fake:last", ["fake:0", "fake:2", "fake:last"]),
        ("fake:1,fake:1,fake:-3", ["fake:1"]),
        (["fake:2", Feature("fake", 0)], ["fake:2", "fake:0"]),
    ],
)
def test_lists_of_features_expand(filled, wanted, expanded):
    assert [str(feature) for feature in filled.features(wanted)] == expanded


@pytest.mark.parametrize("feature", ["fake:-5", "fake:-5~-1", "fake:-6+1", "fake:4", "fake:-9..2"])
def test_a_layer_beyond_the_model_is_refused_and_not_another_one(filled, feature):
    with pytest.raises(FeatureError):
        filled.table(feature)


@pytest.mark.parametrize("wanted", [[], "fake:all@first"])
def test_a_table_of_no_features_is_refused(filled, wanted):
    with pytest.raises(FeatureError):
        filled.table(wanted)


@pytest.mark.parametrize("spelling", ["validation", "valid", "val", "dev", "Dev"])
def test_a_split_is_found_by_any_spelling(cache, make_corpus, spelling):
    extract(FakeBackbone(), make_corpus(3, dev=["a", "b"]), cache)
    assert list(cache["tiny"]["fake"]) == ["train", "validation"]
    assert cache.rows("fake:1", split=spelling).shape == (2, 2)
    assert cache.pages("fake", spelling).split == "validation"
    assert cache.table("fake:1", split=spelling).split == "validation"


def test_a_split_that_nobody_knows_is_refused(filled):
    for ask in (filled.rows, filled.table, filled.pages):
        with pytest.raises(CorpusError, match="no split 'eval': there are train, validation"):
            ask("fake:1", split="eval")


def test_a_split_that_was_not_extracted_is_told_with_its_command(cache, make_corpus):
    corpus = make_corpus(5, validation=["a"], test=["b"])
    extract(FakeBackbone(), corpus, cache, splits=["train"], layers="1")
    assert list(cache.tables("fake:1")) == ["train"]
    [line] = cache.unextracted("fake:1")
    assert line.startswith("tiny/fake was not extracted on validation and test; add it with: lef")
    command = parse(line)
    assert (command["--splits"], command["--layers"]) == ("validation,test", "1")
    extract(FakeBackbone(), corpus, cache, layers="1")
    assert cache.unextracted("fake:1") == []
    assert list(cache.tables("fake:1")) == ["train", "validation", "test"]


def test_a_split_without_labels_is_not_missed(cache):
    splits = {"train": Split(["a"], np.zeros(1, np.int32)), "test": Split(["b"])}
    extract(FakeBackbone(), Corpus("tiny", ("x",), splits), cache, splits=["train"])
    assert cache.unextracted("fake:1") == []


def test_models_with_different_rows_make_no_table(filled, make_corpus):
    extract(FakeBackbone(name="short"), make_corpus(9), filled, limit=5)
    with pytest.raises(MismatchError, match=r"fake: 9, short: 5.*--limit"):
        filled.table("fake:1,short:1")


# Messages that are commands


def test_an_unfinished_extraction_says_how_to_resume_it(interrupted):
    with pytest.raises(IncompleteError, match="finish it with: lef extract") as raised:
        interrupted.rows("fake:1@max")
    command = parse(str(raised.value))
    assert command["--cache"] == str(interrupted.path)
    assert command["--data"].endswith("Odd Name")
    assert command["--text-column"] == "quote'd"
    assert command["--label-column"] == "tag"
    assert (command["--layers"], command["--pool"]) == ("1,last", "max")
    assert (command["--splits"], command["--limit"]) == ("train", "5")
    assert (command["--model"], command["--max-length"]) == ("fake", "77")


def test_the_command_that_resumes_does_so(interrupted):
    with pytest.raises(IncompleteError) as raised:
        interrupted.rows("fake:1@max")
    command = parse(str(raised.value))
    corpus = read_corpus(
        command["--data"],
        text_column=command["--text-column"],
        label_column=command["--label-column"],
    )
    name, _, _ = command["--model"].partition("=")
    receipt = extract(
        FakeBackbone(name=name, max_length=int(command["--max-length"])),
        corpus,
        open_cache(command["--cache"]),
        layers=command["--layers"],
        pools=[command["--pool"]],
        splits=command["--splits"].split(","),
        limit=int(command["--limit"]),
    )
    assert receipt.skipped_blocks > 0
    assert interrupted.rows("fake:1@max").shape == (5, 2)


def test_an_interruption_before_the_first_block_can_be_resumed_too(cache, make_corpus):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(FakeBackbone(on_forward=stop), make_corpus(3), cache, layers="2", pools=["max"])
    [entry] = cache.ls()
    assert (entry["done_rows"], entry["rows"]) == (0, 3)
    command = parse(entry["resume"])
    assert (command["--layers"], command["--pool"]) == ("2", "max")


def test_a_run_of_many_flags_is_told_with_all_of_them(cache, make_corpus):
    corpus = make_corpus(9, test=["t one"])
    backbone = FakeBackbone()
    backbone.provenance = {"revision": "abc123", "remote_code": False}
    order = place_order(backbone, corpus, layers="1", store_dtype="float32", splits=["train"])
    wanted = replace(request_for(backbone, corpus, order, "train"), flags=("--prompt", ""))
    cache.register(corpus)
    with cache.reserve(wanted):
        pass  # stopped within its first block
    command = parse(cache.pages("fake").resume_command())
    assert (command["--revision"], command["--prompt"]) == ("abc123", "")
    assert command["--store-dtype"] == "float32"
    extract(backbone, corpus, cache, order=order)
    # What is stored is settled now, whatever was asked for.
    assert "--store-dtype" not in cache.pages("fake").resume_command()


def test_the_store_dtype_of_a_later_pooling_is_told_until_it_is_begun(cache, make_corpus):
    corpus = make_corpus(3)
    extract(FakeBackbone(), corpus, cache, layers="1")
    stopped(corpus, cache, layers="1", pools=["max"], store_dtype="float16")
    stopped(corpus, cache, layers="1", pools=["max"], store_dtype="float32")
    command = parse(cache.pages("fake").resume_command())
    assert (command["--pool"], command["--store-dtype"]) == ("max", "float32")


def test_what_was_asked_for_apart_is_resumed_apart(cache, make_corpus):
    corpus = make_corpus(9)
    extract(FakeBackbone(), corpus, cache, layers="2", limit=3, block_rows=4)
    extract(FakeBackbone(), corpus, cache, layers="1", pools=["max"], limit=5)
    extract(FakeBackbone(), corpus, cache, layers="3", pools=["first"])
    first, second = cache.pages("fake").resume_command().split(" && ")
    assert (parse(first)["--layers"], parse(first)["--pool"]) == ("2", "mean")
    assert (parse(second)["--layers"], parse(second)["--pool"]) == ("1", "max")


def test_a_layer_that_was_never_asked_for_comes_with_its_command(cache, make_corpus):
    extract(FakeBackbone(), make_corpus(3), cache, layers="1")
    with pytest.raises(FeatureError, match="fake:2 is not in the cache") as raised:
        cache.rows("fake:2")
    command = parse(str(raised.value))
    assert (command["--layers"], command["--pool"]) == ("2", "mean")


def test_a_model_that_was_never_extracted_comes_with_its_command(filled):
    with pytest.raises(FeatureError, match="tiny/other/train is not in the cache") as raised:
        filled.rows("other:1")
    assert parse(str(raised.value))["--model"] == "other"


@pytest.mark.parametrize(
    ("model", "meant", "command"),
    [
        ("tinyml", "tinylm", "tinylm"),  # a short name
        ("fakr", "fake", None),  # in the cache already: there is nothing to add
        ("nothing-like-it", None, "nothing-like-it"),
    ],
)
def test_a_model_that_was_never_extracted_is_told_what_can_work(filled, model, meant, command):
    with pytest.raises(FeatureError, match="is not in the cache") as raised:
        filled.rows(f"{model}:1", data="tiny")
    words = str(raised.value)
    assert re.findall(r"did you mean (\S+)\?", words) == [meant] * bool(meant)
    assert (parse(words)["--model"] if "lef extract" in words else None) == command


def test_a_short_name_is_meant_even_beside_a_model_of_nearly_the_same(cache, make_corpus):
    extract(FakeBackbone(name="llama2"), make_corpus(3), cache)
    with pytest.raises(FeatureError) as raised:
        cache.rows("llama3:1")
    assert parse(str(raised.value))["--model"] == "llama3"


def test_data_of_no_known_name_is_offered_the_nearest_and_no_command(filled, tmp_path):
    with pytest.raises(FeatureError, match=r"\(did you mean tiny\?\): `lef data` lists") as raised:
        filled.rows("fake:1", data="tinny")
    assert "lef extract" not in str(raised.value)
    for data in ("sst2", "org/name", str(tmp_path)):
        with pytest.raises(FeatureError) as raised:
            filled.rows("fake:1", data=data)
        assert parse(str(raised.value))["--data"] == data


def test_a_cache_that_is_not_there_is_told_from_one_that_is_empty(tmp_path):
    for look in (lambda cache: cache.rows("fake:1"), lambda cache: cache["tiny"]):
        with pytest.raises(FeatureError, match=r"holds nothing \(no such folder\)"):
            look(open_cache(tmp_path / "nada"))
        with pytest.raises(FeatureError, match=r"holds nothing yet"):
            look(open_cache(tmp_path))


def test_a_layer_is_added_to_the_rows_and_splits_that_are_there(cache, make_corpus):
    corpus = make_corpus(9, test=["a", "b"], validation=["c"])
    extract(FakeBackbone(), corpus, cache, layers="1", splits=["train", "test"], limit=4)
    with pytest.raises(FeatureError, match="add it with") as raised:
        cache.rows("fake:2")
    command = parse(str(raised.value))
    assert (command["--splits"], command["--limit"]) == ("train,test", "4")


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("fake:4", "no layer 4 in fake: it has 0..3, last"),
        ("fake:2~9", "no layer 4 in fake: it has 0..3, last"),
        ("fake:0+25", "no layer 25 in fake: it has 0..3, last"),
        ("fake:last@own", "--layers last --pool own); any model has mean, mean_nobos"),
        ("fake:2@own", "fake has no pooled vector of its own"),
    ],
)
def test_what_cannot_exist_comes_with_no_command(filled, feature, message):
    with pytest.raises(FeatureError) as raised:
        filled.rows(feature)
    assert message in str(raised.value)
    assert "lef extract" not in str(raised.value)


def test_a_split_that_was_never_extracted_comes_with_its_command(cache, make_corpus):
    corpus = make_corpus(3, test=["t"], source="/some/where")
    backbone = FakeBackbone(max_length=77)
    backbone.source = "org/fake"
    extract(backbone, corpus, cache, splits=["train"], layers="2,last", pools=["max"])
    extract(backbone, corpus, cache, splits=["train"], layers="1", pools=["mean"])
    with pytest.raises(FeatureError, match="tiny/fake/test is not in the cache") as raised:
        cache.rows("fake:1", split="test")
    first, second = str(raised.value).split(" && ")
    assert parse(first) == {
        "--cache": str(cache.path),
        "--data": "/some/where",
        "--model": "fake=org/fake",
        "--layers": "2,last",
        "--pool": "max",
        "--splits": "test",
        "--max-length": "77",
    }
    assert (parse(second)["--layers"], parse(second)["--pool"]) == ("1", "mean")


def test_a_split_that_the_corpus_lacks_comes_with_no_command(filled):
    with pytest.raises(FeatureError, match=r"tiny has no split validation: it has train, test$"):
        filled.rows("fake:1", split="dev")


def test_a_model_of_a_corpus_that_is_not_there_is_told_where_it_was_looked_for(cache):
    with pytest.raises(FeatureError, match="other/fake/train is not in the cache") as raised:
        cache.table("fake:1", data="corpora/Other")
    assert parse(str(raised.value))["--data"] == "corpora/Other"


def test_a_model_beside_a_corpus_without_train_comes_with_its_command(cache, make_corpus):
    extract(FakeBackbone(), make_corpus(test=["t"]), cache)
    with pytest.raises(FeatureError, match="tiny/other/test is not in the cache") as raised:
        cache.tables("other:1")
    assert parse(str(raised.value))["--model"] == "other"


def test_the_package_opens_caches():
    assert lefcache.open is open_cache


def test_a_model_without_the_pool_that_is_meant_is_not_passed_over(cache, make_corpus):
    extract(FakeBackbone(), make_corpus(5), cache, pools=("max", "last"))
    with pytest.raises(
        FeatureError, match=r"'fake' names no .* write fake:all@last or fake:all@max"
    ):
        cache.features("fake")
    assert len(cache.features("fake:all@max")) == 5


def test_a_cache_in_ones_home_is_found_from_python_too(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_cache("~/vectors").path == tmp_path / "vectors"


def test_a_corpus_whose_labels_are_being_written_has_lost_nothing(cache, make_corpus):
    extract(FakeBackbone(1), make_corpus(9, name="seen"), cache)
    cache.register(make_corpus(9, name="begun"))
    (cache.path / "begun" / "zarr.json").unlink()
    assert {entry["corpus"] for entry in cache.ls()} == {"seen"}
    (cache.path / "seen" / "zarr.json").unlink()
    with pytest.raises(DamagedError, match="seen: its metadata is gone"):
        cache.ls()
