import json

import pytest

from lefcache.feature import FIXED, LAST
from lefcache.report.charts import differences, intervals, layer_curve, matrix
from lefcache.report.curves import CHOSEN, curve_of, wilson
from lefcache.report.later import gains, gains_chart, regrets, regrets_chart
from lefcache.report.layout import percent, points, size, sure, within
from lefcache.report.mistakes import MOST_CLASSES, _fewer
from lefcache.report.theme import PAGE, PAPER


def swept(*layers, tested=False):
    """The figures of a sweep of one model, the deeper the better."""
    rows = [
        {
            "feature": f"m:{layer}",
            "val_accuracy": 0.5 + place / 100,
            "test_accuracy": 0.5 if tested else None,
            "test_ci95": [0.4, 0.6] if tested else None,
        }
        for place, layer in enumerate(layers)
    ]
    sizes = {"n_train": 200, "n_val": 0, "n_test": 50}
    return {"corpus": "c", "probe": "ridge", "rows": rows} | sizes


def marks(chart):
    return [each["mark"]["type"] for each in chart.to_dict()["layer"]]


def test_a_curve_marks_what_is_chosen_last_and_at_the_fixed_depth():
    rows = curve_of(swept(*range(11)))
    assert {row["layer"]: row["marks"] for row in rows if row["marks"]} == {
        "6": [FIXED],
        "10": [CHOSEN, LAST],
    }
    assert [row["depth"] for row in rows] == [layer / 10 for layer in range(11)]


def test_the_output_after_the_final_norm_stands_beside_the_curve():
    rows = curve_of(swept(0, 1, 2, "last"))
    assert [row["on_curve"] for row in rows] == [True, True, True, False]
    assert rows[-1]["depth"] == 1
    assert rows[-1]["marks"] == [CHOSEN, LAST]
    assert "rule" in marks(layer_curve(rows))[1:]


def test_a_layer_of_a_chart_without_rows_is_left_out():
    # Vega would warn of an infinite extent in the console.
    assert marks(layer_curve(curve_of(swept(0, 1, 2)))).count("rule") == 1
    row = {"label": "a", "kind": "fused", "model": "", "val": 0.5, "test": None}
    assert intervals([row]).to_dict()["mark"]["type"] == "tick"


def test_rows_that_were_left_out_in_turn_are_all_of_train():
    [row, *_] = curve_of(swept(0, 1))
    assert row["n"] == 200
    assert row["low"] < row["accuracy"] < row["high"]


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.5, 100, 0.4038, 0.5962), (1.0, 10, 0.7225, 1.0), (0.0, 10, 0.0, 0.2775)],
)
def test_wilsons_interval_is_that_of_the_books(share, count, low, high):
    assert wilson(share, count) == pytest.approx((low, high), abs=1e-4)


def test_a_page_names_its_colours_and_a_file_has_them():
    rows = curve_of(swept(0, 1, tested=True))
    assert "var(--series-1)" in json.dumps(layer_curve(rows, PAGE).to_dict())
    assert "var(" not in json.dumps(layer_curve(rows).to_dict())


def test_a_model_has_its_colour_wherever_it_stands():
    rows = curve_of(swept(0, 1))
    chart = json.dumps(layer_curve(rows, PAGE, ["other", "m"]).to_dict())
    assert "var(--series-2)" in chart
    assert "var(--series-1)" not in chart


@pytest.mark.parametrize(("good", "below"), [(1, PAPER.bad), (-1, PAPER.good)])
def test_a_matrix_colours_what_is_below_nothing_otherwise(good, below):
    rows = [{"a": "x", "b": "y", "gain": -0.1}, {"a": "y", "b": "x", "gain": 0.1}]
    how = {"across": "a", "down": "b", "value": "gain", "good": good}
    [squares, *_] = matrix(rows, ["x", "y"], **how).to_dict()["layer"]
    first, _ = squares["encoding"]["color"]["condition"]
    assert (first["test"], first["value"]) == ("datum.gain < 0", below)


def test_differences_are_written_in_points_and_nothing_has_no_sign():
    values = (0.0204, -0.012, 0.0002, -0.0002, 0.0)
    pairs = [
        {"first": "m:1", "second": f"m:{place}", "gain": gain}
        for place, gain in enumerate(values, 2)
    ]
    found = {"rows": pairs, "n_val": 0, "n_train": 200}
    chart = gains_chart(gains(found), [f"m:{place}" for place in range(1, 7)]).to_dict()
    told = {row["with"]: row["told"] for rows in chart["datasets"].values() for row in rows}
    assert [told[f"m:{place}"] for place in range(2, 7)] == [
        *("+2.0", "\N{MINUS SIGN}1.2", "0.0", "0.0", "")
    ]
    assert "%" not in json.dumps(chart["layer"][0]["encoding"]["tooltip"][1])


def test_a_transfer_has_what_needs_no_corpus_below():
    def row(source, regret):
        told = {"feature": "m:1", "regret_ci95": [regret - 0.01, regret + 0.01]}
        return {"source": source, "target": "one", "regret": regret, **told}

    values = {
        "n_test": 50,
        "rows": [row("other", 0.03), row("one", 0.0)],
        "baselines": [row("last layer", -0.01)],
    }
    chart = regrets_chart([*regrets(values)]).to_dict()
    x, y = (chart["layer"][0]["encoding"][name]["scale"]["domain"] for name in "xy")
    assert (x, y) == (["one"], ["one", "other", "last layer"])
    [rows] = chart["datasets"].values()
    assert {row["source"]: row["told"] for row in rows} == {
        "one": "own",
        "other": "+3.0",
        "last layer": "\N{MINUS SIGN}1.0",
    }


def test_a_difference_stands_beside_none():
    chart = differences([{"label": "a", "gain": 0.1, "low": -0.1, "high": 0.2, "n": 9}])
    assert marks(chart) == ["rule", "rule", "point"]


def test_of_many_classes_the_most_confused_are_shown():
    import numpy as np

    counts = np.eye(40) * 10
    counts[7, 9] = 5
    less, names = _fewer(counts, [f"c{place}" for place in range(40)])
    assert less.sum() == counts.sum()
    assert len(names) == MOST_CLASSES
    assert {"c7", "c9"} <= set(names)
    assert names[-1] == f"{40 - MOST_CLASSES + 1} other classes"
    assert less[names.index("c7"), names.index("c9")] == 5


def test_numbers_as_a_person_reads_them():
    assert percent(0.76234) == "76.2 %"
    assert percent(None) == ""
    assert within(0.762, 0.749, 0.777) == "76.2 % [74.9, 77.7]"
    assert points(0.0123, -0.001, 0.02) == "+1.2 [-0.1, +2.0]"
    assert [sure(0.99999), sure(0.9)] == ["> 99.9 %", "90.0 %"]
    assert [size(999), size(1500), size(2.5e9)] == ["999 B", "1.5 kB", "2.5 GB"]
