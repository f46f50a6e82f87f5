"""Heads on the hub: what is pushed is what another machine reads, and no more."""

import json
from dataclasses import replace

import numpy as np
import pytest

import lefcache
from cli.main import main
from lefcache.corpus import Corpus, Split
from lefcache.errors import DamagedError, LefError, ModelError, RecipeError, StorageError
from lefcache.extract import extract
from lefcache.recipe import Recipe
from lefcache.train import Head, load_head, train

# huggingface_hub uploads in a way that its own HTTP library has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TINY = Recipe(op="hadamard-res", width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=4, epochs=2)
TEXTS = ["a cat sat on the mat", "no", "the film was very good", "three bad cat film"] * 5
LABELS = np.arange(len(TEXTS), dtype=np.int32) % 2
REPO = "owner/head"


@pytest.fixture(autouse=True)
def _downloads(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "downloads"))


@pytest.fixture(scope="module")
def table(tmp_path_factory, backbone):
    cache = lefcache.open(tmp_path_factory.mktemp("heads"))
    extract(backbone("bert"), Corpus("tiny", ("no", "yes"), {"train": Split(TEXTS, LABELS)}), cache)
    return cache.table("bert:1,bert:last")


@pytest.fixture(scope="module")
def head(table):
    return train(table, TINY)[0]


@pytest.fixture
def pushed(head, hub):
    head.push_to_hub(REPO)
    return hub.repos[REPO]


def text_of(repo):
    return repo.files["README.md"].decode()


def test_another_machine_reads_what_was_pushed(head, hub):
    address = head.push_to_hub(REPO, private=True)
    repo = hub.repos[REPO]
    assert repo.private
    assert repo.commits[-1][0] in address
    assert len(repo.commits) == 2  # the repository's own first one, and the head
    other = Head.from_pretrained(REPO)
    for name, value in head.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    assert other.card.recipe == head.card.recipe
    assert not other.training


def test_a_folder_is_read_by_the_same_name(head, tmp_path):
    folder = head.save(tmp_path / "head")
    assert Head.from_pretrained(folder).card == load_head(folder).card


def test_raw_text_is_labelled_by_a_head_from_the_hub(pushed, head, model_folder, hub):
    where = {"bert": str(model_folder("bert"))}
    there = lefcache.load(f"hub:{REPO}", models=where, device="cpu")
    here = lefcache.predict.Predictor(head, device="cpu")
    np.testing.assert_array_equal(there.predict_proba(TEXTS[:4]), here.predict_proba(TEXTS[:4]))


def test_the_command_takes_a_place_on_the_hub(pushed, model_folder, capsys):
    words = [
        "predict",
        f"hub:{REPO}",
        TEXTS[0],
        "--json",
        "--model",
        f"bert={model_folder('bert')}",
    ]
    main(words, standalone_mode=False)
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["label"] in ("no", "yes")


def test_nothing_of_this_machine_goes_along(pushed, head, model_folder):
    assert str(model_folder("bert")) == head.card.origins[0].source
    for content in pushed.files.values():
        assert str(model_folder("bert")).encode() not in content
    with pytest.raises(ModelError, match=r"--model bert=FOLDER"):
        lefcache.load(f"hub:{REPO}", device="cpu")
    assert head.card.origins[0].source  # of the head itself nothing has changed


def test_the_card_there_names_the_place_and_the_licence(head, hub):
    head.push_to_hub(REPO, licence="mit")
    text = text_of(hub.repos[REPO])
    assert f'lef predict hub:{REPO} "a text"' in text
    assert "license: mit\n" in text


def test_a_later_head_replaces_the_older_one_in_one_commit(pushed, table, hub):
    later = train(table, TINY, seed=5)[0]
    later.push_to_hub(REPO)
    assert len(pushed.commits) == 3
    assert len([name for name in pushed.files if name.endswith(".safetensors")]) == 1
    assert "seed 5" in text_of(pushed)
    first = pushed.commits[1][0]
    assert Head.from_pretrained(REPO, revision=first).card.figures["seed"] == 0
    assert load_head(f"hub:{REPO}@{first}").card.figures["seed"] == 0
    assert load_head(f"hub:{REPO}").card.figures["seed"] == 5


def test_a_card_that_somebody_wrote_there_stays(pushed, table):
    pushed.commit("mine", pushed.files | {"README.md": text_of(pushed).encode() + b"\nMore.\n"})
    train(table, TINY, seed=5)[0].push_to_hub(REPO)
    assert text_of(pushed).endswith("More.\n")
    assert Head.from_pretrained(REPO).card.figures["seed"] == 5


def test_what_was_read_once_is_read_without_a_network(pushed, hub):
    first = Head.from_pretrained(REPO)
    hub.fault = lambda method, path: (503, b"")
    again = Head.from_pretrained(REPO)
    assert again.card == first.card
    with pytest.raises(StorageError, match="hub:owner/other"):
        Head.from_pretrained("owner/other")


def test_a_head_from_the_hub_is_checked_like_any_other(pushed):
    files = dict(pushed.files)
    [weights] = [name for name in files if name.endswith(".safetensors")]
    card = json.loads(files["head.json"])
    pushed.commit("other weights", files | {weights: files[weights][:-8] + b"\1" * 8})
    with pytest.raises(DamagedError, match="not the file"):
        Head.from_pretrained(REPO)
    for bad in ({"weights": "sha256:../../etc/passwd"}, {"recipe": {"op": "os.system"}}):
        pushed.commit("hostile", files | {"head.json": json.dumps(card | bad).encode()})
        with pytest.raises(LefError):
            Head.from_pretrained(REPO)
    for text in (b"", b"[]", b"[" * 100_000, b"\xff"):
        pushed.commit("no card", files | {"head.json": text})
        with pytest.raises(DamagedError):
            Head.from_pretrained(REPO)


def test_only_the_two_files_of_a_head_are_fetched(pushed, hub, tmp_path):
    pushed.commit("more", pushed.files | {"evil.py": b"1/0", "head-00.safetensors": b"\0" * 99})
    hub.seen.clear()
    Head.from_pretrained(REPO)
    fetched = {request.rpartition("/")[2] for request in hub.seen if "/resolve/" in request}
    assert len(fetched) == 2
    assert not [*(tmp_path / "downloads").rglob("evil.py")]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("hub:owner", "write hub:owner/name"),
        ("hub:owner/../x", "write hub:owner/name"),
        ("hub:owner/nothing", "no such repository"),
        (f"hub:{REPO}@v9", "no revision 'v9'"),
    ],
)
def test_a_place_without_a_head_is_said_to_be_one(place, said, pushed, monkeypatch):
    with pytest.raises(StorageError, match=said):
        load_head(place)


def test_a_repository_of_another_kind_holds_no_head(pushed):
    pushed.commit("another", {"config.json": b"{}"})
    with pytest.raises(StorageError, match="no saved head"):
        load_head(f"hub:{REPO}")


def test_who_may_not_push_is_told_what_helps(head, hub, monkeypatch):
    with pytest.raises(StorageError, match="write access"):
        head.push_to_hub("somebody/head")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(StorageError, match="hf auth login"):
        head.push_to_hub(REPO)


def test_a_head_without_a_card_is_not_pushed(table, hub):
    with pytest.raises(RecipeError, match="that `train` made"):
        train(replace(table, origins=()), TINY)[0].push_to_hub(REPO)
    assert hub.repos == {}
