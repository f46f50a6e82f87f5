import json
import subprocess
import sys
from dataclasses import fields

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


def test_every_field_has_help_for_its_flag():
    assert all(field.metadata["help"].endswith(".") for field in fields(Recipe))


def test_a_field_of_a_newer_version_is_refused():
    with pytest.raises(RecipeError, match=r"newer lefcache .*warmup.*upgrade"):
        Recipe.from_json({"warmup": 3})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"op": "hadamar"}, "no operator 'hadamar': op is one of concat, "),
        ({"width": 0}, "width is 0: give at least 1"),
        ({"batch": 0}, "batch is 0"),
        ({"epochs": -1}, "epochs is -1"),
        ({"hidden": (4, 0)}, "hidden is .* at least 1"),
        ({"hidden": (4,)}, "2 dropouts for 1 hidden layers: give one for each"),
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

    assert tuple(FUSIONS) == OPS


@pytest.mark.parametrize("module", ["recipe", "results"])
def test_torch_is_not_needed(module):
    blocked = f"import sys; sys.modules['torch'] = None; import lefcache.{module}"
    subprocess.run([sys.executable, "-c", blocked], check=True)


def test_numpy_is_not_needed_for_flags():
    blocked = "import sys; sys.modules['numpy'] = None; import lefcache.recipe"
    subprocess.run([sys.executable, "-c", blocked], check=True)
