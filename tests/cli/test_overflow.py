"""A value that outgrows float16: the command in the message ends in a whole cache."""

import shlex
from dataclasses import replace

import numpy as np
import pytest

import lefcache
import lefcache.extract
from lefcache.testing import FakeBackbone


class Loud(FakeBackbone):
    """A fake whose layer 2 grows with a text's length: 10 tokens are beyond float16."""

    value = 7000.0

    def forward(self, batch, layers, deliver):
        def louder(layer, states):
            if layer == 2:
                lengths = np.array([len(each) for each in batch])
                states[:] = states.new_tensor(self.value * lengths)[:, None, None]
            deliver(layer, states)

        super().forward(batch, layers, louder)


@pytest.fixture
def loud(monkeypatch):
    """Every model is a Loud one with the settings that were asked for."""
    asked = []

    def load(
        model,
        *,
        name=None,
        device="auto",
        revision=None,
        trust_remote_code=False,
        layers=None,
        **settings,
    ):
        for where in ("device_map", "offload_folder"):  # change no number
            settings.pop(where)
        asked.append({"revision": revision, "code": trust_remote_code, **settings})
        fake = Loud(3, 2, name=name or model.partition("=")[0])
        fake.source = model.partition("=")[2] or model
        if settings.get("dtype") == "auto":
            settings.pop("dtype")
        fake.spec = replace(fake.spec, **settings)
        fake.provenance |= {"revision": revision, "remote_code": trust_remote_code}
        return fake

    monkeypatch.setattr(lefcache.extract, "load_backbone", load)
    return asked


@pytest.fixture
def texts(tmp_path):
    """Forty short texts, and one of ten words in the sixth block of eight; odd column names."""
    folder = tmp_path / "Reviews"
    folder.mkdir()
    for split, rows in (("train", 45), ("test", 10)):
        lines = [f"{'word ' * (9 if i == 43 else i % 2)}{i}\t{'ny'[i % 2]}" for i in range(rows)]
        (folder / f"{split}.tsv").write_text("\n".join(["body\tmood", *lines, ""]))
    return folder


COLUMNS = ("--text-column", "body", "--label-column", "mood", "--block-rows", 8)


def refused(lef, *words):
    """The command that a failed extraction suggests."""
    ran = lef("extract", *words, *COLUMNS)
    assert ran.code == 1
    (line,) = (line for line in ran.err.splitlines() if line.startswith("Error: "))
    return shlex.split(line.partition(" with: ")[2])


def test_the_command_in_the_message_ends_in_a_whole_cache(lef, loud, texts):
    words = refused(lef, "--data", texts, "--model", "fake", "--pool", "last", "--pool", "mean")
    assert lef(*words[1:]).code == 0
    cache = lefcache.open("lef-cache")
    for split, rows in (("train", 45), ("test", 10)):
        pages = cache.pages("fake-f32", split)
        assert pages.done_rows == pages.rows == rows
        assert pages.pools == ["last", "mean"]
        for pool in pages.pools:
            assert pages.layers(pool) == [0, 1, 2, 3, "last"]
            assert {each.dtype for each in pages[pool].values()} == {np.dtype(np.float32)}
    assert cache.rows("fake-f32:2")[43][0] == 70_000
    assert lef("sweep", "--models", "fake-f32", "--data", "reviews").code == 0


def test_the_command_with_bfloat16_in_its_place_ends_in_a_whole_cache(lef, loud, texts):
    words = refused(lef, "--data", texts, "--model", "fake")
    words[words.index("--store-dtype") + 1] = "bfloat16"
    assert lef(*words[1:]).code == 0
    rows = lefcache.open("lef-cache").rows("fake-f32:2")
    assert rows.stored.name == "bfloat16"
    np.testing.assert_allclose(rows[43], 70_000, rtol=2**-8)


def test_the_command_keeps_every_setting(lef, loud, texts):
    flags = (
        *("--layers", "1..2", "--pool", "max", "--max-length", 99, "--prompt", "say: 'x' "),
        *("--instruction", "- of films", "--dtype", "bfloat16", "--attention", "eager"),
        *("--revision", "v2", "--trust-remote-code"),
    )
    words = refused(lef, "--data", f"r={texts}", "--model", "mine=org/it", *flags)
    assert lef(*words[1:]).code == 0
    assert loud[0] == loud[1]
    cache = lefcache.open("lef-cache")
    assert cache.spec("mine", "r") == cache.spec("mine-f32", "r")
    pages = cache["r"]["mine-f32"]["train"]
    assert (pages.pools, pages.layers("max"), pages.done_rows) == (["max"], [1, 2], 45)
    assert pages.model_attrs["source"] == "org/it"


def test_the_command_keeps_splits_and_limit(lef, loud, texts):
    base = ("--data", texts, "--model", "fake")
    words = refused(lef, *base, "--splits", "train", "--limit", 44)
    assert lef(*words[1:]).code == 0
    cache = lefcache.open("lef-cache")
    assert list(cache["reviews"]["fake-f32"]) == ["train"]
    assert cache.rows("fake-f32:2").shape == (44, 2)


def test_an_overflow_of_narrow_arithmetic_gives_a_command_with_wide_one(
    lef, loud, texts, monkeypatch
):
    monkeypatch.setattr(Loud, "value", float("inf"))
    words = refused(lef, "--data", texts, "--model", "fake", "--dtype", "float16")
    monkeypatch.setattr(Loud, "value", 1.0)
    assert lef(*words[1:]).code == 0
    assert lefcache.open("lef-cache").spec("fake-f32").dtype == "float32"


def test_an_overflow_of_wide_arithmetic_suggests_no_wider_one(lef, loud, texts, monkeypatch):
    monkeypatch.setattr(Loud, "value", float("nan"))
    ran = lef("extract", "--data", texts, "--model", "fake", "--dtype", "float32", *COLUMNS)
    assert "is NaN: that is what the model itself gives, computing in float32" in ran.err
    assert "--dtype" not in ran.err.splitlines()[-1]


def test_a_prompt_that_was_taken_away_stays_away(lef, loud, texts, monkeypatch):
    words = refused(lef, "--data", texts, "--model", "e5", "--prompt", "")
    assert words[words.index("--prompt") + 1] == ""
    entry = lef("ls", "--json").json[0]
    monkeypatch.setattr(Loud, "value", 1.0)
    assert lef(*shlex.split(entry["resume"])[1:]).code == 0
    assert loud[-1]["prompt"] == ""
