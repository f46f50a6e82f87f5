import shlex

import pytest

from lefcache.cache import open as open_cache
from lefcache.finished import finished
from lefcache.report import report
from lefcache.report.gather import gather
from lefcache.report.selected import select_section, selections


def loss(name, feature, points):
    return {"name": name, "feature": feature, "points": points, "ci95": [points - 1, points + 1]}


def choice(model, layer, **more):
    return {
        "model": model,
        "feature": f"{model}:{layer}",
        "by": "ridge",
        "sure": 0.87,
        "rivals": [f"{model}:3"],
        "n_train": 500,
        "share": 0.0123,
        "seconds": 1.25,
        "regret": None,
        "layers": [{}] * 7,
    } | more


REGRET = {
    "probe": "mlp",
    "seeds": 5,
    "by": "test",
    "n": 300,
    "best": "a:4",
    "losses": [
        *(loss("chosen", "a:2", 0.5), loss("last", "a:6", 1.5)),
        loss("fixed depth 0.6", "a:4", 0.0),
    ],
    "agreements": [
        {"score": "ridge", "spearman": 0.8, "ci95": [0.1, 1.0]},
        {"score": "logme", "spearman": None, "ci95": None},
    ],
}


@pytest.fixture
def kept(stored, tmp_path):
    """A function that puts choices into a cache, and gathers what is there."""
    cache = open_cache(tmp_path / "cache")

    def kept(*choices, budget="2%", n_train=500):
        models = sorted({each["model"] for each in choices})
        values = {"corpus": "hostile", "score": "ridge", "n_train": n_train, "choices": [*choices]}
        key = {"features": [f"{name}:{layer}" for name in models for layer in range(3)]}
        stored(cache, "select", values, budget=budget, score="ridge", seeds=[0], **key)
        return gather(cache)

    return kept


def test_a_choice_says_how_sure_it_is_what_it_cost_and_what_it_lost(kept):
    (panel,) = select_section(kept(choice("a", 2, regret=REGRET), choice("b", 1))).panels
    chosen, lost = panel.tables
    assert chosen.lines[0] == [
        *("a", "a:2", "ridge", "87 %", "a:3", "500", "1.2 %", "1.2 s"),
    ]
    assert lost.lines == [
        [
            *("a", "a:4 (mlp, 5 seeds; test, n = 300)", "+0.5 [-0.5, +1.5] (a:2)"),
            *("+1.5 [+0.5, +2.5] (a:6)", "+0.0 [-1.0, +1.0] (a:4)"),
        ],
        ["b", "no sweep yet", "", "", ""],
    ]
    assert panel.data.headers == ["score", ">a"]
    assert panel.data.lines == [["ridge", "+0.80 [+0.10, +1.00]"]]


def test_without_a_sweep_nothing_is_said_of_losses(kept):
    (panel,) = select_section(kept(choice("a", 2, sure=None))).panels
    (chosen,) = panel.tables
    assert chosen.lines[0][3] == "not known"
    assert panel.data is None


def test_of_each_model_the_choice_of_most_rows_and_layers_then_the_latest_counts(kept):
    kept(choice("a", 1), choice("b", 0))
    kept(choice("a", 2), budget="5s")
    kept(choice("a", 3, layers=[{}] * 2), choice("c", 0, layers=[{}]), budget="6s")
    found = selections(kept(choice("a", 0), budget="1%", n_train=100), "hostile")
    assert [row["feature"] for row, _ in found] == ["a:2", "b:0"]
    words = "lef select --data hostile --models a:0..2 --budget 5s --cache"
    assert found[0][1].command.startswith(words)


def test_it_is_listed_with_what_was_chosen(kept):
    (line,) = finished(kept(choice("a", 2), choice("b", 1)).cache)
    assert (line.kind, line.what) == ("select", "a:2 and b:1, by ridge within 2%")
    assert (line.val_accuracy, line.test_accuracy, line.n_test) == (None, None, 0)


def test_choices_that_a_newer_lefcache_wrote_are_none(kept, tmp_path):
    figures = kept({"model": "a", "feature": "a:2"})
    assert selections(figures, "hostile") == []
    assert "select" in report(figures.cache, tmp_path / "r.html").missing


def test_the_choice_of_a_cache_is_on_the_page(hostile, tmp_path):
    written = report(hostile, tmp_path / "r.html")
    assert "select" not in written.missing
    studies = gather(hostile).of("select")
    assert len(studies) == 2
    for study in studies:
        assert study.values["choices"][0]["regret"]["by"] == "test"
        assert study.command in (tmp_path / "r.html").read_text().replace("&#39;", "'")
        words = shlex.split(study.command)
        assert words[:4] == ["lef", "select", "--data", "hostile"]
        assert words[words.index("--budget") + 1] == "50%"
