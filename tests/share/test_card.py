"""The card says what the vectors are, and cannot be made to say anything else."""

import re

import pytest
import yaml

from lefcache.share.card import card
from lefcache.share.described import Described, describe, licence_of
from lefcache.share.hub import Place
from lefcache.spec import Spec
from lefcache.version import __version__

PLACE = Place("owner/layers")
CORPUS = {
    "classes": ["no", "yes"],
    "source": "sst2",
    "options": {"label-column": "stars"},
    "splits": {"train": 67349, "test": 1821},
    "digest": "ab" * 32,
    "checksums": {"labels/train": 10, "rows/train": 11},
}
SPLIT = Described(
    corpus="sst2",
    model="mistral",
    split="train",
    arrays=("mean/0", "mean/1", "mean/2", "mean/last", "max/2"),
    rows=67349,
    width=4096,
    depth=32,
    dtype="float16",
    bytes=1_234_567,
    spec=Spec("sha256:12", "sha256:34", prompt="query: ", dtype="bfloat16"),
    source="mistralai/Mistral-7B-v0.3",
    revision="d8cadc02",
    licence="Apache-2.0",
)


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_the_head_is_yaml_that_says_what_it_is():
    head = front_matter(card(PLACE, [SPLIT], {"sst2": CORPUS}, labelled=True))
    assert head["license"] == "other"
    assert head["license_name"] == "those-of-model-and-corpus"
    assert head["size_categories"] == ["10K<n<100K"]
    assert "lefcache" in head["tags"]
    assert head["lefcache"]["version"] == __version__
    [model] = head["lefcache"]["models"]
    assert (model["source"], model["revision"]) == ("mistralai/Mistral-7B-v0.3", "d8cadc02")
    assert model["spec"]["prompt"] == "query: "


def test_a_licence_that_its_owner_gives_is_the_first():
    text = card(PLACE, [SPLIT], {"sst2": CORPUS}, labelled=True, licence="cc-by-4.0")
    head = front_matter(text)
    assert head["license"] == "cc-by-4.0"
    assert "license_name" not in head
    assert "out under cc-by-4.0" in text


def test_a_person_reads_settings_layers_corpus_and_licences():
    text = card(PLACE, [SPLIT], {"sst2": CORPUS}, labelled=True)
    for row in (
        "| sst2/mistral/train | mean: 0..2, last; max: 2 | 67,349 | 4,096 | float16 | 1,234,567 |",
        "| model | mistralai/Mistral-7B-v0.3 |",
        "| revision | d8cadc02 |",
        "| licence of the model | Apache-2.0 |",
        "| prompt | query:  |",
        "| dtype | bfloat16 |",
        "| source | sst2 |",
        "| rows | train 67,349, test 1,821 |",
        "| classes | no, yes |",
        f"| SHA-256 of the hashes of its texts | {'ab' * 32} |",
        "| CRC-32C of rows/train | 0000000b |",
    ):
        assert row in text
    assert "**The texts themselves are not in here**" in text
    assert "**The labels are**" in text
    assert "mistralai/Mistral-7B-v0.3 (Apache-2.0)" in text
    assert "lef pull hub:owner/layers sst2/mistral --layers 2 " in text


def test_it_says_when_there_are_no_labels():
    assert "The labels are not in here" in card(PLACE, [SPLIT], {"sst2": CORPUS}, labelled=False)


def test_nothing_in_it_is_markup():
    evil = "<script>|x|\n## head [a](javascript:b) `c` \x1b[31m"
    from dataclasses import replace

    spec = replace(SPLIT.spec, prompt=evil)
    split = replace(SPLIT, spec=spec, source=evil, revision=evil)
    corpus = {**CORPUS, "source": evil, "classes": [evil]}
    text = card(PLACE, [split], {"sst2": corpus}, labelled=True)
    body = text.split("---\n", 2)[2]
    assert "<script>" not in body
    assert "\x1b" not in text
    assert not re.search(r"^## head", body, re.MULTILINE)
    assert "[a](" not in body
    assert front_matter(text)["lefcache"]["models"][0]["source"] == evil
    rows = [line for line in body.splitlines() if line.startswith("| prompt |")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 3


@pytest.mark.parametrize(
    ("model", "source", "licence"),
    [
        ("mistral", "mistral", "Apache-2.0"),
        ("mine", "mistralai/Mistral-7B-v0.3", "Apache-2.0"),
        ("nvembed", "", "CC-BY-NC-4.0"),
        ("nvembed", "my-own-folder", ""),
        ("other", "other", ""),
    ],
)
def test_a_licence_is_that_of_the_source(model, source, licence):
    assert licence_of(model, source) == licence


def test_a_split_is_described_by_what_it_has(filled):
    found = describe(filled.pages("fake"), ["mean/2"])
    assert (found.arrays, found.rows, found.bytes, found.layers) == (
        ("mean/2",),
        40,
        192,
        "mean: 2",
    )
    assert found.path == "tiny/fake/train"
