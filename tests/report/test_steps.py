import pytest

from lefcache.cache import open as open_cache
from lefcache.report import report
from lefcache.report.charts import cost_chart
from lefcache.report.gather import gather
from lefcache.report.steps import BYTES, COSTS, priced, scale_section, scales, steps_of


def estimate(mean):
    return {"mean": mean, "std": 0.0, "ci95": [mean - 0.02, mean + 0.02], "values": [mean]}


def gain(mean, low):
    return {"mean": mean, "ci95": [low, 2 * mean - low], "n": 100}


def step(features, val, **more):
    return {
        "features": features,
        "store": "float16",
        "val_accuracy": estimate(val),
        "test_accuracy": estimate(val - 0.01),
        "val_gain": None,
        "test_gain": None,
        "row_bytes": 100 * len(features),
        "memory": 10**6,
        "train_seconds": 1.0,
        "embed_seconds": None,
        "predict_seconds": 0.001 * len(features),
    } | more


@pytest.fixture
def values():
    """Three features of which two pay, and the last step in another store."""
    return {
        "corpus": "hostile",
        "op": "sum",
        "pays": 2,
        "seeds": 3,
        "n_train": 500,
        "n_val": 100,
        "n_test": 50,
        "steps": [
            step(["a:1"], 0.7),
            step(["a:1", "b:1"], 0.8, val_gain=gain(0.1, 0.05)),
            step(["a:1", "b:1", "c:1"], 0.79, val_gain=gain(-0.01, -0.03)),
        ],
        "stores": [step(["a:1", "b:1", "c:1"], 0.81, store="float32", row_bytes=600)],
    }


@pytest.fixture
def kept(values, stored, tmp_path):
    """A function that puts them into a cache, changed, and gathers what is there."""
    cache = open_cache(tmp_path / "cache")

    def kept(seeds=(0,), **changed):
        stored(cache, "scale", values | changed, seeds=[*seeds], features=["a:1", "b:1", "c:1"])
        return gather(cache)

    return kept


def test_a_step_is_called_by_what_was_added_and_how_that_did(values):
    rows = steps_of(values)
    assert [(row["label"], row["kind"]) for row in rows] == [
        ("a:1", "pays"),
        ("+\u00a0b:1", "pays"),
        ("+\u00a0c:1", "not known to pay"),
        ("all as float32", "in another store"),
    ]


def test_what_nothing_cheaper_reaches_is_marked(values):
    rows = priced(steps_of(values), BYTES)
    assert [row["bytes"] for row in rows] == [100, 200, 300, 600]
    assert [row["efficient"] for row in rows] == [True, True, False, True]


def test_of_two_that_are_equal_both_stay(values):
    values["stores"].append(dict(values["stores"][0], store="bfloat16"))
    rows = priced(steps_of(values), BYTES)
    assert [row["efficient"] for row in rows] == [True, True, False, True, True]


def test_what_is_not_known_of_any_step_has_no_chart(kept):
    section = scale_section(kept())
    drawn = {panel.id for panel in section.panels}
    assert drawn == {f"scale-hostile{end}" for end in ("", "-bytes", "-megabytes", "-predict")}
    first = section.panels[0]
    assert first.note.startswith("2 features pay: c:1 is not known to gain anything, -1.0 [-3.0,")
    assert [line[0] for line in first.tables[0].lines] == [
        *("a:1", "+\u00a0b:1", "+\u00a0c:1", "all as float32")
    ]
    assert first.tables[0].lines[1][2] == "+10.0 [+5.0, +15.0]"


def test_the_study_of_most_rows_counts_and_its_command_makes_it(kept):
    kept()
    figures = kept(seeds=(0, 1, 2), n_train=400)
    _, study = scales(figures, "hostile")
    assert study.values["n_train"] == 500
    assert scales(figures, "elsewhere") is None
    words = "lef scale --data hostile --models a:1,b:1,c:1"
    first, second = (each.command for each in figures.studies)
    assert first.startswith(f"{words} --seeds 1 --cache")
    assert second.startswith(f"{words} --cache")  # three seeds are the usual number


def test_without_a_test_validation_is_drawn(values):
    for each in (*values["steps"], *values["stores"]):
        each["test_accuracy"] = None
    rows = priced(steps_of(values), BYTES)
    chart = cost_chart(rows, cost=BYTES).to_dict()
    fields = {layer["encoding"].get("y", {}).get("field") for layer in chart["layer"]}
    assert fields == {"val_low", "val", "val_high"}


def test_what_is_no_result_of_a_scale_is_left_out_with_a_note(kept, tmp_path):
    figures = kept(steps=[{"features": ["<b>:1"]}])
    written = report(figures.cache, tmp_path / "r.html")
    assert len(written.notes) == 1
    assert "scale" in written.missing


def test_steps_that_a_newer_lefcache_wrote_are_none(kept, values):
    steps = [{name: each[name] for name in each if name != "memory"} for each in values["steps"]]
    figures = kept(steps=steps)
    assert [each.result.kind for each in figures.studies] == ["scale"]
    assert scales(figures, "hostile") is None


def test_every_cost_has_a_name_and_a_form():
    assert len({field for field, _, _ in COSTS}) == len(COSTS)
    assert all(name and form for _, name, form in COSTS)
