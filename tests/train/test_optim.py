import math

import pytest
import torch

from lefcache.recipe import OPTIMISERS as OPTIMISER_NAMES
from lefcache.recipe import SCHEDULES as SCHEDULE_NAMES
from lefcache.recipe import Recipe
from lefcache.train import optim
from lefcache.train.optim import OPTIMISERS, SCHEDULES, lr_at, optimiser_of, set_lr


def test_the_names_are_those_of_the_recipe():
    assert tuple(OPTIMISERS) == OPTIMISER_NAMES
    assert tuple(SCHEDULES) == SCHEDULE_NAMES


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [0.875, 0.625, 0.375, 0.125]),
        ("cosine", [(1 + math.cos(math.pi * done)) / 2 for done in (1 / 8, 3 / 8, 5 / 8, 7 / 8)]),
    ],
)
def test_a_schedule_is_what_it_says(schedule, factors):
    recipe = Recipe(schedule=schedule, lr=0.01)
    assert [lr_at(recipe, step, 4) for step in range(4)] == pytest.approx(
        [f * 0.01 for f in factors]
    )


def test_a_rate_that_is_warmed_up_rises_for_a_tenth_and_then_falls():
    recipe = Recipe(schedule="warmup-cosine", lr=1.0)
    rates = [lr_at(recipe, step, 200) for step in range(200)]
    assert rates[:20] == pytest.approx([(step + 0.5) / 20 for step in range(20)])
    assert max(rates) == pytest.approx(1, abs=0.03)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_step_is_what_its_name_says(name, decay):
    """Two steps by the published formulas, written by hand."""
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimiser = optimiser_of([weight], Recipe(optimiser=name, weight_decay=decay, lr=0.1))
    value, first, second = weight.detach().clone(), 0.0, 0.0
    for step, given in enumerate(([0.5, 0.25], [-1.0, 2.0]), start=1):
        slope = torch.tensor(given, dtype=torch.float64)
        weight.grad = slope.clone()
        optimiser.step()
        if name == "adamw":
            value = value * (1 - 0.1 * decay)
        else:
            slope += decay * value
        if name == "sgd":
            first = slope if step == 1 else 0.9 * first + slope
            value = value - 0.1 * first
            continue
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        adapted = (second / (1 - 0.999**step)).sqrt() + 1e-8
        value = value - 0.1 * first / (1 - 0.9**step) / adapted
    torch.testing.assert_close(weight.detach(), value)


def test_a_device_without_the_fused_kernel_has_the_plain_one(monkeypatch):
    adam = torch.optim.Adam

    def unfused(parameters, fused=False, **settings):
        if fused:
            raise RuntimeError("no kernel")
        return adam(parameters, **settings)

    monkeypatch.setitem(optim.OPTIMISERS, "adam", (unfused, {}))
    weight = torch.nn.Parameter(torch.ones(2))
    assert not optimiser_of([weight], Recipe()).defaults["fused"]


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_a_rate_is_set_in_place_where_it_is_a_tensor(kind):
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.Adam([weight], lr=kind(0.5), capturable=False)
    before = optimiser.param_groups[0]["lr"]
    set_lr(optimiser, 0.25)
    after = optimiser.param_groups[0]["lr"]
    assert float(after) == 0.25
    assert kind is float or after is before
