"""Studies whose members are done by the workers of a cluster of two nodes."""

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cli.main import main
from lefcache.cache import open as open_cache
from lefcache.cluster import Cluster, Workers
from lefcache.errors import EngineError, RecipeError
from lefcache.extract import extract
from lefcache.files import Url
from lefcache.recipe import Recipe
from lefcache.study import PROBES, Spread, pairs, sweep
from lefcache.study.engine import _shared
from lefcache.testing import FakeBackbone
from tests import s3
from tests.jobs import cluster_jobs

TINY = Recipe(width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=20, epochs=3)
NOISE = {0: 6.0, 1: 3.0, 2: 0.9, 3: 2.0, "last": 2.5}


class Noisy(FakeBackbone):
    """The class is whether the number of words is odd, which some layers know better."""

    def forward(self, batch, layers, deliver):
        for layer in layers:
            rows = []
            for encoded in batch:
                drawn = np.random.default_rng((4 if layer == "last" else layer, len(encoded)))
                rows.append(len(encoded) % 2 + NOISE[layer] * drawn.standard_normal(self.width))
            states = torch.tensor(np.array(rows), dtype=torch.float32)[:, None]
            deliver(layer, states.expand(-1, max(map(len, batch)), -1))


def corpus_of(make_corpus):
    texts = ["word " * (1 + number) for number in range(160)]
    return make_corpus(train=texts[:120], test=texts[120:])


@pytest.fixture(scope="module")
def workers(two_nodes):
    with Cluster(workers=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def worker(two_nodes):
    """One alone, for what ends or is stopped: another at work would have to begin again."""
    with Cluster(workers=1) as cluster:
        yield cluster


@pytest.fixture
def filled(cache, make_corpus):
    extract(Noisy(width=12), corpus_of(make_corpus), cache, block_rows=64)
    return cache


@pytest.fixture
def tables(filled):
    return filled.tables("fake")


def timeless(swept):
    rows, fixed = (
        tuple(replace(row, seconds=0.0) for row in each) for each in (swept.rows, swept.fixed)
    )
    return replace(swept, rows=rows, fixed=fixed, seconds=0.0)


@pytest.mark.parametrize("probe", PROBES)
def test_a_sweep_is_what_it_is_in_this_process(tables, filled, workers, probe):
    settings = {"seeds": 2, "fixed": ["fake:last"]}
    local = sweep(tables, probe, TINY, **settings)
    told = []
    spread = Spread(workers, filled)
    found = sweep(tables, probe, TINY, engine=spread, on_row=told.append, **settings)
    assert timeless(found) == timeless(local)
    assert sorted(row.feature for row in told) == sorted(row.feature for row in local.rows)


def test_pairs_are_what_they_are_in_this_process(tables, filled, workers, tmp_path):
    told = []
    found = pairs(
        tables,
        results=tmp_path,
        on_pair=lambda *numbers: told.append(numbers),
        engine=Spread(workers, filled),
    )
    assert replace(found, id="", seconds=0.0) == replace(pairs(tables), seconds=0.0)
    assert told == [(done, 10) for done in range(1, 11)]


def test_a_worker_that_ends_costs_what_it_was_about(tables, filled, worker, tmp_path):
    notes = []
    probe = partial(cluster_jobs.dies_once, str(tmp_path / "died"))
    found = sweep(tables, probe, engine=Spread(worker, filled, notes.append))
    assert notes == ["a worker was lost; its work is handed out again"]
    assert timeless(replace(found, probe="ridge")) == timeless(sweep(tables))


class Watched(Spread):
    """Remembers which members were handed out."""

    def begin(self, task, tables):
        does, self.asked = super().begin(task, tables), []

        def watched(items):
            self.asked += items
            return does(items)

        return watched


def test_what_is_finished_is_kept_when_a_sweep_is_interrupted(tables, filled, worker, tmp_path):
    def interrupt(row):
        raise KeyboardInterrupt

    settings = {"results": tmp_path, "seeds": 2}
    spread = Watched(worker, filled)
    with pytest.raises(KeyboardInterrupt):
        sweep(tables, "mlp", TINY, engine=spread, on_row=interrupt, **settings)
    whole, kept = len(spread.asked), len([*tmp_path.glob("parts/tiny/*.json")])
    assert whole == 10
    assert 0 < kept < whole
    found = sweep(tables, "mlp", TINY, engine=spread, **settings)
    first = [each for number, each in enumerate(spread.asked) if each not in spread.asked[:number]]
    assert len(first) >= whole - kept  # and the chosen layer again, where it was remembered
    assert timeless(replace(found, id="")) == timeless(sweep(tables, "mlp", TINY, seeds=2))
    assert sweep(tables, "mlp", TINY, **settings).cached


def test_a_worker_that_cannot_see_the_cache_says_so(tables, filled, worker, tmp_path):
    elsewhere = open_cache(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match=r":\d+ sees no cache at .*elsewhere: give a folder"):
        sweep(tables, engine=Spread(worker, elsewhere))
    elsewhere.path.mkdir()
    with pytest.raises(EngineError, match=r":\d+ cannot read .*elsewhere: .*is not in the cache"):
        pairs(tables, engine=Spread(worker, elsewhere))
    labels = tables["train"].labels[::-1].copy()
    corrected = tables | {"train": replace(tables["train"], labels=labels)}
    with pytest.raises(EngineError, match="sees other vectors or labels"):
        sweep(corrected, engine=Spread(worker, filled))


def test_a_mistake_of_the_recipe_is_told_as_it_is(tables, filled, worker):
    with pytest.raises(RecipeError, match="torch sees no GPU here"):
        sweep(tables, "mlp", TINY, device="cuda", engine=Spread(worker, filled))


def vectors(names):
    return sorted(name for name in names if "/mean/" in name and "/c/" in name)


def test_a_cache_on_an_object_store_is_pulled_once_a_node(
    make_corpus, workers, nodes_s3, s3_server, monkeypatch, tmp_path
):
    s3.use(monkeypatch, s3_server)
    monkeypatch.setenv("LEF_MIRROR", str(tmp_path / "mirror"))
    address = Url(f"s3://{s3.make_bucket(s3_server)}/run")
    extract(Noisy(), corpus_of(make_corpus), open_cache(address), layers="1..3", block_rows=64)
    cache = open_cache(address, later=True)
    tables, asked = cache.tables("fake"), len(nodes_s3.requests)
    found = sweep(tables, engine=Spread(workers, cache))
    chosen = found.best.partition(":")[2]
    here = vectors(str(path) for path in (tmp_path / "mirror").rglob("*") if path.is_file())
    assert {Path(name).parts[-6:-3] for name in here} == {("test", "mean", chosen)}
    pulled = vectors(path for method, path in nodes_s3.requests[asked:] if method == "GET")
    assert {name.split("/")[-6] for name in pulled} == {"train"}
    assert len(pulled) == len({*pulled}) == 3 * 2  # of each layer, both blocks
    pairs(tables, engine=Spread(workers, cache))
    again = vectors(path for method, path in nodes_s3.requests[asked:] if method == "GET")
    assert again == pulled


def test_shares_are_smaller_the_less_is_left():
    found = [len(each) for each in _shared(range(33), SimpleNamespace(workers=Workers(4, 1, 0)))]
    assert found == [5, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1]
    assert [*_shared([], SimpleNamespace(workers=Workers(4, 1, 0)))] == []


@pytest.mark.parametrize("study", [("sweep", "--no-baselines"), ("pairs", "--rows", "60")])
def test_the_command_line_says_the_same(filled, two_nodes, study):
    words = [*study, "--cache", str(filled.path), "--models", "fake:1..3", "--json"]

    def timeless_json(*more):
        ran = CliRunner().invoke(main, [*words, *more])
        assert ran.exit_code == 0, ran.stderr
        shutil.rmtree(filled.results)
        return re.sub(r'"seconds": [^,}]*', "", ran.stdout), ran.stderr

    found, said = timeless_json("--engine", "ray", "--workers", "2")
    assert said.startswith("2 workers of a Ray cluster, with 1 core each\n")
    assert found == timeless_json()[0]
