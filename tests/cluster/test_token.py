"""Clusters that ask for a token, and those that do not."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import ray

from lefcache.cluster.token import MODE, as_asked, forget
from lefcache.errors import EngineError

HAS_A_TOKEN = """
import sys
from functools import cache
from ray._private import services
from lefcache.cluster import Cluster
from tests.jobs import cluster_jobs
services.find_gcs_addresses = cache(lambda: {sys.argv[1]})  # and no other one of this machine
services.find_bootstrap_address = lambda _: None
with Cluster("auto", workers=1) as cluster:
    print(*cluster.run(cluster_jobs.doubled, iter([(1, 2)]), lambda job: job))
"""


def test_who_has_a_token_hears_workers_that_were_given_none(two_nodes):
    token = {"RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    words = [sys.executable, "-c", HAS_A_TOKEN, two_nodes.address]
    ran = subprocess.run(
        words, env=os.environ | token, capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stdout == "2 4\n"


@pytest.fixture
def asking(monkeypatch):
    """A function that has a cluster ask for a token; gives what was done about it."""

    def asking(has, right=True):
        def let_in(address):
            if not (right and "token is brought" in done):
                raise ray.exceptions.AuthenticationError("the token is missing or incorrect")

        done = []
        loader = SimpleNamespace(has_token=lambda ignore_auth_mode: has)
        for name, value in {
            "ray._raylet.GcsClient": let_in,
            "ray._raylet.AuthenticationTokenLoader": SimpleNamespace(instance=lambda: loader),
            "ray._private.authentication.authentication_token_setup._enable_token_auth": (
                lambda: done.append("token is brought")
            ),
        }.items():
            monkeypatch.setattr(name, value)
        return done

    return asking


def test_a_token_is_brought_where_it_is_asked_for(asking):
    done = asking(has=True)
    with as_asked("127.0.0.1:6379"):
        assert done == ["token is brought"]


@pytest.mark.parametrize("token", [{"has": False}, {"has": True, "right": False}])
def test_a_token_that_is_missing_or_another_one_is_an_error_at_once(asking, token):
    asking(**token)
    said = r"cluster at 127.0.0.1:6379 asks for a token.*copy ~/\.ray/auth_token"
    with pytest.raises(EngineError, match=said), as_asked("127.0.0.1:6379"):
        pass


def test_who_has_said_what_the_cluster_asks_for_is_believed(monkeypatch):
    monkeypatch.setenv(MODE, "token")
    with as_asked("127.0.0.1:1"):
        assert os.environ[MODE] == "token"


def test_what_is_no_cluster_of_ray_is_none(monkeypatch):
    def silent(address):
        raise ray.exceptions.RpcError("Timed out while waiting")

    monkeypatch.setattr("ray._raylet.GcsClient", silent)
    with pytest.raises(ConnectionError, match="Timed out"), as_asked("127.0.0.1:6379"):
        pass


@pytest.mark.parametrize("before", [None, "disabled"])
def test_what_ray_sets_for_a_cluster_of_its_own_is_forgotten(monkeypatch, before):
    monkeypatch.setenv(MODE, "token")
    seen = []
    config = SimpleNamespace(initialize=lambda _: seen.append(os.environ.get(MODE)))
    loader = SimpleNamespace(reset_cache=lambda: seen.append("no token"))
    monkeypatch.setattr("ray._raylet.Config", config)
    monkeypatch.setattr(
        "ray._raylet.AuthenticationTokenLoader", SimpleNamespace(instance=lambda: loader)
    )
    forget(before)
    assert os.environ.get(MODE) == before
    assert seen == [before, "no token"]
