import hashlib
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from lefcache.columns import Reading
from lefcache.errors import DamagedError, LefError, RecipeError, StorageError
from lefcache.feature import Feature
from lefcache.predict import load
from lefcache.recipe import OPS, Recipe
from lefcache.spec import Origin
from lefcache.train import Head, load_head, logits, train
from tests.hostile import NO_JSON, edits, few, flipped, only_our_errors

TINY = Recipe(op="hadamard-res", width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=2)
FEATURES = (Feature("m", 1), Feature("m", "2~3"))
ORIGINS = (
    Origin("m", ("mean/1",), ("float16",), "somewhere", "abc123"),
    Origin("m", ("mean/2", "mean/3"), ("float16", "float32")),
)


@pytest.fixture
def tables(split):
    sizes = {"train": 60, "validation": 30, "test": 40}
    return {
        name: replace(split(size, (5, 7), noise=2, split=name), features=FEATURES, origins=ORIGINS)
        for name, size in sizes.items()
    }


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("op", OPS)
def test_a_head_of_any_recipe_is_read_as_it_was(op, preset, split, tmp_path):
    table = replace(split(60, (16, 16)), features=FEATURES, origins=ORIGINS)
    recipe = replace(TINY, op=op, preset=preset, width=16, epochs=1)
    head, _ = train(table, recipe)
    loaded = load_head(head.save(tmp_path / "head"))
    assert type(loaded) is type(head)
    assert (loaded.card.recipe, loaded.layer_weights) == (recipe, head.layer_weights)
    np.testing.assert_array_equal(logits(loaded, table), logits(head, table))


def test_what_inputs_were_measured_is_saved_with_the_head(tables, tmp_path):
    recipe = replace(TINY, standardise=True, activation="gelu", optimiser="sgd", patience=1)
    head, _ = train(tables["train"], recipe)
    loaded = load_head(head.save(tmp_path / "head"))
    assert loaded.card.recipe == recipe
    assert loaded.inputs[1].mean.any()
    np.testing.assert_array_equal(logits(loaded, tables["test"]), logits(head, tables["test"]))


def test_a_head_of_the_first_version_is_read(head, tables, tmp_path):
    folder = head.save(tmp_path / "head")
    first = {"op", "width", "hidden", "dropout", "lr", "batch", "epochs"}
    assert set(json.loads((folder / "head.json").read_text())["recipe"]) == first
    names = {"project.0.0", "project.1.0", "classify.0", "classify.3"}
    assert set(head.state_dict()) == {
        f"{name}.{end}" for name in names for end in ("weight", "bias")
    }
    edit(folder, lambda card: card["figures"].pop("layer_weights"))
    np.testing.assert_array_equal(
        logits(load_head(folder), tables["test"]), logits(head, tables["test"])
    )


def weights_of(folder):
    [file] = folder.glob("*.safetensors")
    return file


@pytest.fixture
def head(tables):
    head, _ = train(
        tables["train"], TINY, validation=tables["validation"], test=tables["test"], seed=3
    )
    return head


def test_what_is_read_is_what_was_saved(head, tables, tmp_path):
    loaded = load_head(head.save(tmp_path / "head"))
    assert replace(loaded.card, figures={}) == replace(head.card, figures={})
    assert not loaded.training
    np.testing.assert_array_equal(logits(loaded, tables["test"]), logits(head, tables["test"]))


def test_the_card_counts_the_rows_that_train_has_too(tables):
    train_texts = tables["train"].texts
    known = {
        name: replace(
            tables[name], texts=np.repeat(train_texts, len(tables[name]))[: len(tables[name])]
        )
        for name in ("validation", "test")
    }
    head, _ = train(tables["train"], TINY, **known)
    assert (head.card.figures["n_val_known"], head.card.figures["n_test_known"]) == (30, 40)


def test_the_card_says_what_the_head_is_and_what_it_is_worth(head, tables, tmp_path):
    card = load_head(head.save(tmp_path / "head")).card
    assert card.classes == tables["train"].classes
    assert (card.features, card.widths) == (tables["train"].features, (5, 7))
    assert (card.specs, card.origins) == (tables["train"].specs, ORIGINS)
    assert card.recipe == TINY
    figures = card.figures
    assert (figures["corpus"], figures["seed"]) == ("tiny", 3)
    assert (figures["n_train"], figures["n_val"], figures["n_test"]) == (60, 30, 40)
    assert (figures["n_val_known"], figures["n_test_known"]) == (0, 0)
    low, high = figures["test_ci95"]
    assert low <= figures["test_accuracy"] <= high


def test_the_files_are_safetensors_and_json(head, tmp_path):
    folder = head.save(tmp_path / "head")
    assert {file.name for file in folder.iterdir()} == {
        *("README.md", "head.json"),
        weights_of(folder).name,
    }
    assert json.loads((folder / "head.json").read_text())["format"] == "lefcache-head"
    assert set(safetensors.torch.load_file(weights_of(folder))) == set(head.state_dict())


def test_a_head_replaces_an_older_one_and_nothing_else(head, tmp_path):
    folder = head.save(tmp_path / "head")
    assert head.save(folder) == folder
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(StorageError, match="folder of its own"):
        head.save(tmp_path / "thesis")
    with pytest.raises(StorageError, match="is a file"):
        head.save(tmp_path / "thesis" / "chapter.tex")


def test_a_head_that_cannot_be_used_again_is_not_saved(tables, tmp_path):
    with pytest.raises(RecipeError, match="train"):
        Head((5,), 2, TINY).save(tmp_path / "head")
    own = replace(TINY, op=lambda features: features[0] + features[1])
    with pytest.raises(RecipeError, match="function of your own"):
        train(tables["train"], own)[0].save(tmp_path / "head")
    assert not (tmp_path / "head").exists()


def test_a_folder_without_a_head_is_said_to_be_one(tmp_path):
    with pytest.raises(StorageError, match="lef fuse --save"):
        load_head(tmp_path / "nowhere")


def edit(folder, change):
    document = json.loads((folder / "head.json").read_text())
    change(document)
    (folder / "head.json").write_text(json.dumps(document))


def test_weights_of_another_head_are_noticed(head, tables, tmp_path):
    folder, other = head.save(tmp_path / "one"), train(tables["train"], TINY, seed=4)[0]
    weights_of(other.save(tmp_path / "other")).replace(weights_of(folder))
    with pytest.raises(DamagedError, match="not the file that"):
        load_head(folder)


def test_weights_that_were_cut_short_are_noticed(head, tmp_path):
    folder = head.save(tmp_path / "head")
    whole = weights_of(folder).read_bytes()
    weights_of(folder).write_bytes(whole[:-10])
    with pytest.raises(DamagedError):
        load_head(folder)
    weights_of(folder).unlink()
    with pytest.raises(StorageError, match="no saved head"):
        load_head(folder)


@pytest.mark.parametrize("killed_at", ["head-", "head.json"])
def test_a_kill_while_a_head_is_replaced_leaves_the_older_one(
    killed_at, head, tables, tmp_path, monkeypatch
):
    folder, other = head.save(tmp_path / "head"), train(tables["train"], TINY, seed=4)[0]
    expected = logits(head, tables["test"])

    def killed(path, content):
        if path.name.startswith(killed_at):
            raise KeyboardInterrupt
        path.write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr("lefcache.train.saving.replace_file", killed)
        with pytest.raises(KeyboardInterrupt):
            other.save(folder)
    np.testing.assert_array_equal(logits(load_head(folder), tables["test"]), expected)
    other.save(folder)
    assert len([*folder.iterdir()]) == 3  # nothing of the older one, nor of the killed one
    assert load_head(folder).card == other.card


@pytest.mark.parametrize("killed_at", ["head.json", "README.md"])
def test_a_kill_leaves_no_model_card_of_another_head(
    killed_at, head, tables, tmp_path, monkeypatch
):
    folder, other = head.save(tmp_path / "head"), train(tables["train"], TINY, seed=4)[0]

    def killed(path, content):
        if path.name == killed_at:
            raise KeyboardInterrupt
        path.write_bytes(content)

    with monkeypatch.context() as patched:
        for module in ("saving", "readme"):
            patched.setattr(f"lefcache.train.{module}.replace_file", killed)
        with pytest.raises(KeyboardInterrupt):
            other.save(folder)
    assert not (folder / "README.md").exists()
    other.save(folder)
    assert "seed 4" in (folder / "README.md").read_text()


def test_a_readme_of_ones_own_is_never_replaced(head, tmp_path):
    folder = head.save(tmp_path / "head")
    written = (folder / "README.md").read_text()
    for own in ("# My head\n", written.replace("Scores", "My scores"), written + "More.\n", ""):
        (folder / "README.md").write_text(own)
        head.save(folder)
        assert (folder / "README.md").read_text() == own
    (folder / "README.md").write_text(written)
    head.save(folder)
    assert (folder / "README.md").read_text() == written


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_damage(value, head, tmp_path):
    with torch.no_grad():
        head.classify[-1].bias[0] = value
    with pytest.raises(DamagedError, match="finite"):
        load_head(head.save(tmp_path / "head"))


def test_the_card_says_how_the_texts_were_made(tables, tmp_path):
    made = Reading(template="{title}: {body}", label_column="stars")
    head, _ = train(replace(tables["train"], reading=made), TINY)
    assert load_head(head.save(tmp_path / "head")).card.reading == made
    edit(tmp_path / "head", lambda card: card.pop("reading"))
    assert load_head(tmp_path / "head").card.reading == Reading()


def origin(card, place=0):
    return card["features"][place]["origin"]


HOSTILE = {
    "a width beyond all memory": lambda card: card["recipe"].update(width=10**9),
    "a width beyond all numbers": lambda card: card["recipe"].update(width=2**63),
    "a width that is a word": lambda card: card["features"][0].update(width="5"),
    "no features": lambda card: card.update(features=[]),
    "features of another kind": lambda card: card.update(features=7),
    "a feature that is none": lambda card: card["features"][0].update(feature="../../etc:1"),
    "classes of another kind": lambda card: card.update(classes=[1, 2]),
    "a class twice": lambda card: card.update(classes=["a", "a"]),
    "an operator that is none": lambda card: card["recipe"].update(op="os.system"),
    "a setting that is none": lambda card: card["recipe"].update(run="rm -rf"),
    "a spec of another kind": lambda card: card["features"][0]["spec"].update(max_length="long"),
    "an origin of another kind": lambda card: card["features"][0]["origin"].update(source=5),
    "a precision that is none": lambda card: card["features"][0]["origin"].update(dtypes=["O"]),
    "no arrays": lambda card: origin(card).update(arrays=[], dtypes=[]),
    "an array twice": lambda card: origin(card, 1).update(arrays=["mean/2", "mean/2"]),
    "a layer with a zero before": lambda card: origin(card).update(arrays=["mean/02"]),
    "a layer in other digits": lambda card: origin(card).update(arrays=["mean/\u0662"]),
    "a layer beyond all numbers": lambda card: origin(card).update(arrays=["mean/" + "9" * 5000]),
    "an array that is none": lambda card: origin(card).update(arrays=["../1"]),
    "another layer than the feature's": lambda card: origin(card).update(arrays=["mean/5"]),
    "another pooling than the feature's": lambda card: origin(card).update(arrays=["max/1"]),
    "another model than the feature's": lambda card: card["features"][0].update(feature="x:1"),
    "more layers than the feature's": lambda card: card["features"][1].update(feature="m:1~3"),
    "layers without end": lambda card: card["features"][1].update(feature=f"m:0~{10**18}"),
    "columns of another kind": lambda card: card.update(reading={"template": 5}),
    "columns that are none": lambda card: card.update(reading={"os": "system"}),
    "a template that is none": lambda card: card.update(reading={"template": "{a.b!r:x"}),
    "a function that is none": lambda card: card["recipe"].update(activation="os.system"),
    "a preset that is none": lambda card: card["recipe"].update(preset=["paper"]),
    "inputs of another kind": lambda card: card["recipe"].update(standardise="yes"),
    "inputs without their numbers": lambda card: card["recipe"].update(standardise=True),
    "patience of another kind": lambda card: card["recipe"].update(patience="long"),
    "a smoothing of another kind": lambda card: card["recipe"].update(label_smoothing=[]),
    "weights elsewhere": lambda card: card.update(weights="sha256:../../../etc/passwd"),
    "weights of another kind": lambda card: card.update(weights=None),
    "a later version": lambda card: card.update(version=99),
    "no version": lambda card: card.pop("version"),
    "classifiers without end": lambda card: card["recipe"].update(
        hidden=[1] * 10**5, dropout=[0] * 10**5
    ),
    "an operator of another kind": lambda card: card["recipe"].update(op=["concat"]),
    "a rate of another kind": lambda card: card["recipe"].update(lr="fast"),
    "a count that is true": lambda card: card["recipe"].update(epochs=True),
    "another format": lambda card: card.update(format="pickle"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_card_that_was_tampered_with_is_an_error_of_ours(name, head, tmp_path):
    folder = head.save(tmp_path / "head")
    edit(folder, HOSTILE[name])
    for read in (load_head, load):
        with pytest.raises(LefError):
            read(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_a_card_that_is_none_is_damage(text, head, tmp_path):
    folder = head.save(tmp_path / "head")
    (folder / "head.json").write_text(text)
    with pytest.raises(DamagedError, match="save it again"):
        load_head(folder)


@pytest.mark.parametrize("text", NO_JSON)
def test_a_card_that_is_no_document_is_damage(text, head, tmp_path):
    folder = head.save(tmp_path / "head")
    (folder / "head.json").write_text(text)
    with pytest.raises(DamagedError):
        load_head(folder)


@given(st.data())
@few
def test_any_card_is_read_or_refused(head, tmp_path_factory, data):
    folder = head.save(tmp_path_factory.mktemp("fuzz") / "head")
    card = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps(data.draw(edits(card))))
    with only_our_errors():
        load_head(folder)


@given(st.data())
@few
def test_any_weights_are_read_or_refused(head, tmp_path_factory, data):
    """With the digest and the name that the card gives them: a stranger can compute those."""
    folder = head.save(tmp_path_factory.mktemp("fuzz") / "head")
    file = weights_of(folder)
    raw = data.draw(flipped(file.read_bytes()))
    digest = hashlib.sha256(raw).hexdigest()
    file.rename(folder / f"head-{digest[:16]}.safetensors").write_bytes(raw)
    edit(folder, lambda card: card.update(weights=f"sha256:{digest}"))
    with only_our_errors():
        load_head(folder)


def tensors(**headers):
    header = json.dumps(headers).encode()
    return len(header).to_bytes(8, "little") + header + bytes(64)


HOSTILE_WEIGHTS = {
    "two in one place": tensors(
        a={"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
        b={"dtype": "F32", "shape": [4], "data_offsets": [8, 24]},
    ),
    "beyond the end": tensors(a={"dtype": "F32", "shape": [99], "data_offsets": [0, 396]}),
    "a shape beyond all numbers": tensors(
        a={"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 64]}
    ),
    "a header without end": (2**62).to_bytes(8, "little") + b"{",
    "a pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE_WEIGHTS)
def test_weights_of_a_stranger_are_refused(name, head, tmp_path):
    folder = head.save(tmp_path / "head")
    raw = HOSTILE_WEIGHTS[name]
    digest = hashlib.sha256(raw).hexdigest()
    weights_of(folder).rename(folder / f"head-{digest[:16]}.safetensors").write_bytes(raw)
    edit(folder, lambda card: card.update(weights=f"sha256:{digest}"))
    with pytest.raises(DamagedError):
        load_head(folder)


@pytest.mark.parametrize("which", ["head.json", "weights"])
def test_a_head_of_links_or_pipes_is_refused(which, head, tmp_path):
    theirs, folder = head.save(tmp_path / "theirs"), head.save(tmp_path / "head")
    file = folder / which if which == "head.json" else weights_of(folder)
    for make in (lambda: file.symlink_to(theirs / file.name), lambda: os.mkfifo(file)):
        file.unlink()
        make()
        with pytest.raises(DamagedError, match="cp -rL"):
            load_head(folder)
    if which == "head.json":
        with pytest.raises(StorageError, match="folder of its own"):
            head.save(folder)


def test_training_without_a_cache_makes_a_head_without_a_card(split):
    head, _ = train(split(40, (5,)), replace(TINY, op="concat"))
    assert head.card is None
    assert isinstance(head, torch.nn.Module)
