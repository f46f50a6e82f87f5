import json
import subprocess
import sys
from dataclasses import fields, replace

import pytest

from lefcache.errors import RecipeError
from lefcache.recipe import OPS, Recipe


def test_the_defaults_are_the_papers():
    assert Recipe() == Recipe(
        op="concat",
        width=1024,
        hidden=(1024, 256),
        dropout=(0.5, 0.3),
        lr=1e-4,
        batch=100,
        epochs=120,
    )


def test_survives_json():
    recipe = Recipe(op="hadamard-res", hidden=(8,), dropout=(0.1,), lr=1e-3)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_the_authors_code_is_a_preset():
    recipe = Recipe(preset="released")
    assert (recipe.lr, recipe.batch, recipe.epochs, recipe.hidden) == (1e-4, 1024, 100, (1024, 256))
    assert [recipe.settled(count).dropout for count in (1, 2, 3, 5)] == [
        *[(0.5, 0.3)] * 2,
        *[(0.5, 0.5)] * 2,
    ]
    for op in ("moe", "moe-res"):
        experts = Recipe(op=op, preset="released").settled(5)
        assert (experts.hidden, experts.dropout) == ((512, 256), (0.4, 0.3))
    for op in ("mix", "vote"):  # five layers of one model; five heads on one model each
        assert Recipe(op=op, preset="released").settled(5).dropout == (0.5, 0.3)


def test_what_is_given_is_taken_over_the_preset():
    given = {"hidden": (8,), "dropout": (0.2,), "batch": 7, "epochs": 3, "width": 64, "lr": 1e-3}
    recipe = Recipe(preset="released", **given)
    assert {name: getattr(recipe.settled(5), name) for name in given} == given


@pytest.mark.parametrize(
    ("hidden", "dropout"),
    [((), ()), ((64,), (0.5,)), ((64, 32), (0.5, 0.3)), ((64, 32, 16), (0.5, 0.3, 0.3))],
)
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_dropouts_follow_the_hidden_layers(preset, hidden, dropout):
    assert Recipe(preset=preset, hidden=hidden).settled(2).dropout == dropout
    assert Recipe(preset=preset, hidden=list(hidden), op="moe").settled(2).hidden == hidden


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_a_settled_recipe_survives_json(preset):
    recipe = Recipe(op="moe-res", preset=preset)
    for each in (recipe, recipe.settled(3), replace(recipe, op="sum")):
        assert Recipe.from_json(json.loads(json.dumps(each.to_json()))) == each


def test_settings_that_are_not_used_are_not_written_down():
    first = {"op", "width", "hidden", "dropout", "lr", "batch", "epochs"}
    assert set(Recipe().to_json()) == first
    assert set(Recipe(preset="released").to_json()) == first | {"preset"}


def test_what_is_used_makes_another_identity():
    used = {
        "activation": "gelu",
        "patience": 5,
        "optimiser": "adamw",
        "schedule": "cosine",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "standardise": True,
        "precision": "bfloat16",
    }
    for name, value in used.items():
        recipe = Recipe(**{name: value})
        assert recipe.to_json()[name] == value
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_the_names_of_older_results_stay():
    from lefcache.results import result_id

    assert result_id(Recipe(op="hadamard-res").to_json()) == "a5c50a69a08ed09c"


def test_every_field_has_help_for_its_flag():
    assert all(field.metadata["help"].endswith(".") for field in fields(Recipe))


def test_a_field_of_a_newer_version_is_refused():
    with pytest.raises(RecipeError, match=r"newer lefcache .*warmup.*upgrade"):
        Recipe.from_json({"warmup": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"op": "hadamar"}, "no operator 'hadamar': op is one of concat, "),
        ({"preset": "mine"}, "no preset 'mine': it is one of paper, released"),
        ({"class_weights": "mine"}, "no class weights 'mine': it is one of none, balanced"),
        ({"optimiser": "lion"}, "no optimiser 'lion': it is one of adam, adamw, sgd"),
        ({"patience": -1}, "patience is -1: give passes, or 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1: give 0"),
        ({"weight_decay": float("nan")}, "weight_decay is nan"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0: give a share from 0 to below 1"),
        ({"standardise": "yes"}, "standardise is 'yes': give True or False"),
        ({"op": "mix-res"}, "no operator 'mix-res'"),
        ({"width": 0}, "width is 0: give at least 1"),
        ({"batch": 0}, "batch is 0"),
        ({"epochs": -1}, "epochs is -1"),
        ({"hidden": (4, 0)}, "hidden is .* at least 1"),
        (
            {"dropout": (0.1,)},
            "1 dropout for 2 hidden layers: .* such as dropout 0.1,0.1, or leave",
        ),
        ({"hidden": (4,), "dropout": (0.2, 0.1)}, "2 dropouts for 1 hidden layer: .* dropout 0.2,"),
        ({"hidden": (), "dropout": (0.1,)}, "1 dropout for 0 hidden layers: leave dropout out"),
        ({"dropout": ()}, "0 dropouts for 2 hidden layers: .* such as dropout 0,0"),
        ({"dropout": (1.0, 0.0)}, "from 0 to below 1"),
        ({"lr": 0.0}, "lr is 0.0: give a number above 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"lr": float("inf")}, "lr is inf"),
    ],
)
def test_what_cannot_work_is_refused_with_the_fix(values, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(**values)


def test_an_operator_may_be_a_function_but_is_then_only_described():
    def mine(features):
        return features[0]

    recipe = Recipe(op=mine)
    assert not recipe.named
    assert Recipe().named
    assert "mine" in recipe.to_json()["op"]
    with pytest.raises(RecipeError, match="no operator 'function"):
        Recipe.from_json(recipe.to_json())


def test_the_names_are_those_of_the_operators():
    from lefcache.train import FUSIONS

    names = dict.fromkeys(op.removesuffix("-res") for op in OPS)
    assert [*names] == [*FUSIONS, "vote"]


@pytest.mark.parametrize("module", ["recipe", "results"])
def test_torch_is_not_needed(module):
    blocked = f"import sys; sys.modules['torch'] = None; import lefcache.{module}"
    subprocess.run([sys.executable, "-c", blocked], check=True)


def test_numpy_is_not_needed_for_flags():
    blocked = "import sys; sys.modules['numpy'] = None; import lefcache.recipe"
    subprocess.run([sys.executable, "-c", blocked], check=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dropout": (0.5, 1.0)}, "dropout is 0.5,1: give rates"),
        ({"hidden": (0,)}, "hidden is 0: give widths"),
    ],
)
def test_a_list_is_refused_in_the_words_of_its_flag(settings, said):
    with pytest.raises(RecipeError, match=said):
        Recipe(**settings)
