"""A hub on this machine, and something to put there."""

import shutil
import threading
import warnings

import numpy as np
import pytest

from lefcache.cache import open as open_cache
from lefcache.corpus import Corpus, Split
from lefcache.extract import extract
from lefcache.share.hub import Place
from lefcache.share.pull import looked, pull
from lefcache.share.push import planned, push
from lefcache.testing import FakeBackbone
from tests.cli.conftest import lef  # noqa: F401  a fixture, here too
from tests.conftest import numbered_texts
from tests.share.stand_in import TOKEN, Repo, StandIn

PLACE = Place.parse("hub:owner/layers")


@pytest.fixture(scope="session")
def _server():
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def taken_for_the_hub(server, patch):
    """Make `huggingface_hub` ask the stand-in, and wait no longer between trials."""
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http

    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "ENDPOINT", server.url)
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setenv("HF_TOKEN", TOKEN)
    for module in (_http, file_download):
        patch.setattr(module.time, "sleep", lambda seconds: None)


@pytest.fixture
def hub(_server, monkeypatch):
    """The stand-in for the hub, with nothing in it."""
    from huggingface_hub.utils import close_session

    taken_for_the_hub(_server, monkeypatch)
    _server.forget()
    yield _server
    close_session()


@pytest.fixture(scope="session")
def _made(_server, tmp_path_factory):
    """A cache with every layer of one model over 40 texts, and what was pushed of it."""
    from huggingface_hub.utils import close_session

    made = open_cache(tmp_path_factory.mktemp("made") / "cache")
    texts = Split(numbered_texts(40), (np.arange(40) % 2).astype(np.int32))
    corpus = Corpus("tiny", ("no", "yes"), {"train": texts}, "demo")
    extract(FakeBackbone(), corpus, made, block_rows=16)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
        taken_for_the_hub(_server, patch)
        _server.forget()  # what an earlier test has left there
        with planned(made, "tiny", PLACE) as plan:
            push(plan)
        close_session()
    return made.path, _server.repos["owner/layers"]


@pytest.fixture
def filled(cache, _made):
    """A cache with every layer of one model over 40 texts, in three blocks."""
    shutil.copytree(_made[0], cache.path)
    return cache


@pytest.fixture
def pushed(hub, _made):
    """The repository to which all of that cache was pushed."""
    repo = hub.repos["owner/layers"] = Repo(private=False, commits=[*_made[1].commits])
    return repo


@pytest.fixture
def other(tmp_path):
    """Somebody else's cache, which is empty."""
    return open_cache(tmp_path / "other")


@pytest.fixture
def send(hub):
    """A function that pushes a key, and returns the plan and the commit."""

    def run(cache, key="tiny", place=PLACE, **how):
        with planned(cache, key, place, **how) as plan:
            return plan, push(plan)[0]

    return run


@pytest.fixture
def get(hub):
    """A function that pulls into a cache, and returns what it fetched and the notes."""

    def run(cache, key="", place=PLACE, **what):
        with looked(cache, place, key, **what) as offer:
            return offer, pull(cache, offer)

    return run
