"""What `--data` knows by a short name."""

import pytest

from lefcache.aliases import HUB
from lefcache.catalogue import catalogue, look_up
from lefcache.errors import CorpusError


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub-data"))


def test_every_short_name_is_listed_the_demo_first():
    names = [known.name for known in catalogue()]
    assert names == ["demo", *HUB]
    issue = "sst2 mr r8 r52 imdb amazon ag_news trec massive ledgar pubmed-rct"
    assert set(issue.split()) <= set(names)


def test_the_demo_is_always_here():
    demo = look_up("demo")
    assert demo.here
    assert (demo.classes, list(demo.splits)) == (6, ["train", "validation", "test"])


def test_what_was_downloaded_is_here(hub_data):
    assert not look_up("sst2").here
    hub_data("stanfordnlp/sst2", train={"sentence": ["a"], "label": [1]})
    assert [known.name for known in catalogue() if known.here] == ["demo", "sst2"]


def test_a_name_that_is_none_is_refused():
    with pytest.raises(CorpusError, match=r"'stt2' is no short name \(did you mean sst2\?\)"):
        look_up("stt2")


def test_the_library_datasets_is_not_needed(python):
    code = "import sys; sys.modules['datasets'] = None\nfrom lefcache.catalogue import catalogue\n"
    assert python(f"{code}print(len(catalogue()))").strip() == str(len(HUB) + 1)
