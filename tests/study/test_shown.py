import sys
from dataclasses import replace

import numpy as np
import pytest

from lefcache import results as store
from lefcache.cache import open as open_cache
from lefcache.corpus import read_corpus
from lefcache.errors import LefError
from lefcache.extract import extract
from lefcache.recipe import Recipe
from lefcache.study import compare, fuse, pairs, scale, select, sweep, transfer
from lefcache.testing import FakeBackbone

SMALL = Recipe(width=4, hidden=(4,), dropout=(0.0,), batch=16, epochs=1, lr=0.01)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One of each result that a notebook shows, by its kind."""
    from tests.conftest import table

    generator = np.random.default_rng(0)
    tables = {}
    for name, many in (("train", 60), ("test", 30)):
        labels = generator.integers(0, 2, many)
        rows = [labels[:, None] + generator.standard_normal((many, 3)) for _ in range(3)]
        tables[name] = table(labels, *rows, split=name)
    folder = tmp_path_factory.mktemp("results")
    both = {name: each.alone(0) for name, each in tables.items()}
    made = {
        "sweep": sweep(tables, show_test=True, results=folder),
        "fuse": fuse(tables, SMALL, seeds=2, results=folder),
        "alone": fuse(both, SMALL, seeds=2, results=folder),
        "pairs": pairs(tables, results=folder),
        "select": select(tables),
    }
    first, second = (store.find(folder, "tiny", made[name].id) for name in ("fuse", "alone"))
    other = {name: replace(each, corpus="other") for name, each in tables.items()}
    made["transfer"] = transfer({"tiny": tables, "other": other})
    made["scale"] = scaled(tmp_path_factory.mktemp("scale"))
    return made | {"compare": compare(first, second)}


def scaled(folder):
    """Features added one at a time, of a cache: what they cost is read there."""
    for split, many in (("train", 40), ("test", 20)):
        lines = [f"{'word ' * (1 + place % 7)}{split}{place}\t{place % 2}" for place in range(many)]
        (folder / f"{split}.tsv").write_text("\n".join(["text\tlabel", *lines]) + "\n")
    cache = open_cache(folder / "lef-cache")
    extract(FakeBackbone(name="one"), read_corpus(f"tiny={folder}"), cache)
    return scale(cache, cache.tables("one:1,one:2"), SMALL, stores=("bfloat16",), seeds=2)


KINDS = ("sweep", "fuse", "pairs", "select", "transfer", "scale", "compare")


@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_shows_a_table_with_the_figures(found, kind):
    shown = found[kind]._repr_html_()
    assert shown.startswith("<table><caption>")
    assert shown.count("<tr>") == 1 + len(found[kind].records())


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_has_a_row_for_each_record(found, kind):
    frame = found[kind].to_frame()
    assert len(frame) == len(found[kind].records()) > 0
    assert list(frame.columns) == [*found[kind].records()[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_plot_is_a_chart_that_can_be_drawn(found, kind):
    import vl_convert

    chart = found[kind].plot().to_dict()
    assert "svg" in vl_convert.vegalite_to_svg(chart)
    assert sum(map(len, chart["datasets"].values())) > 0


def test_the_frame_of_a_sweep_says_n_interval_and_choice(found):
    frame = found["sweep"].to_frame().set_index("feature")
    best = frame.loc[found["sweep"].best]
    assert best.chosen
    assert frame.chosen.sum() == 1
    assert best.test_ci95_low <= best.test_accuracy <= best.test_ci95_high
    assert (best.n_val, best.n_test) == (60, 30)


def test_the_plot_of_a_fusion_has_its_seeds(found):
    [rows] = found["fuse"].plot().to_dict()["datasets"].values()
    assert [row["label"] for row in rows] == ["mean of 2 seeds", "seed 1 of 2", "seed 2 of 2"]
    assert rows[0]["test"] == pytest.approx((rows[1]["test"] + rows[2]["test"]) / 2)


def test_the_frame_of_a_transfer_has_every_choice_and_what_needs_none(found):
    frame = found["transfer"].to_frame().set_index(["target", "source"])
    assert (frame.regret_ci95_low <= frame.regret).all()
    assert (frame.loc["tiny"].index == ["other", "tiny", "last layer", "fixed depth 0.6"]).all()
    assert frame.loc["tiny", "tiny"].regret == 0


def test_the_frame_of_a_scale_says_what_pays_and_what_nothing_beats(found):
    frame, made = found["scale"].to_frame(), found["scale"]
    assert [*frame.store] == ["float16", "float16", "bfloat16"]
    assert [*frame.pays] == [True, made.pays == 2, None]
    assert frame.best_by_bytes.sum() == len(made.best_by_bytes)
    assert (frame.val_accuracy_ci95_low <= frame.val_accuracy).all()
    [rows] = made.plot().to_dict()["datasets"].values()
    assert sum(row["efficient"] for row in rows) == len(made.best_by_bytes)
    assert [row["short"] for row in rows] == ["one:1", "+\u00a0one:2", "all as bfloat16"]


def test_markup_in_a_name_stays_text(found):
    hostile = replace(found["sweep"], corpus="<script>alert(1)</script>")
    assert "<script>" not in hostile._repr_html_()
    assert "&lt;script&gt;" in hostile._repr_html_()


def test_without_pandas_a_line_says_what_installs_it(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LefError, match=r"a frame needs pandas.*\[report\]"):
        found["sweep"].to_frame()
