import numpy as np
import pytest
import torch

from lefcache.errors import RecipeError
from lefcache.recipe import Recipe
from lefcache.train.fusion import FUSIONS, fused_width, operator_of

# Each operator as plain numpy says it, on a list of (B, W).
STATED = {
    "concat": lambda e: np.concatenate(e, axis=1),
    "concat-res": lambda e: np.concatenate(e, axis=1),
    "hadamard": lambda e: np.prod(e, axis=0),
    "hadamard-res": lambda e: np.concatenate([*e, np.prod(e, axis=0)], axis=1),
}


def features(count):
    generator = np.random.default_rng(count)
    return [generator.standard_normal((5, 4)) for _ in range(count)]


def test_every_operator_is_stated():
    assert STATED.keys() == FUSIONS.keys()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("op", FUSIONS)
def test_an_operator_does_what_numpy_says(op, count):
    given = features(count)
    fused = FUSIONS[op]([torch.from_numpy(each) for each in given])
    np.testing.assert_allclose(fused.numpy(), STATED[op](given))
    assert fused.shape[1] == fused_width(FUSIONS[op], count, 4)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("op", FUSIONS)
def test_its_gradient_is_right(op, count):
    given = tuple(torch.from_numpy(each).requires_grad_() for each in features(count))
    assert torch.autograd.gradcheck(lambda *each: FUSIONS[op](each), given)


@pytest.mark.parametrize("op", FUSIONS)
def test_its_gradient_is_that_of_numpy_differences(op):
    given = features(2)
    weights = np.random.default_rng(9).standard_normal(STATED[op](given).shape)
    tensors = [torch.from_numpy(each).requires_grad_() for each in given]
    (FUSIONS[op](tensors) * torch.from_numpy(weights)).sum().backward()
    for place, tensor in enumerate(tensors):
        step = np.zeros((2, *given[0].shape))
        step[place, 2, 3] = 1e-6
        up, down = ([e + s * d for e, d in zip(given, step, strict=True)] for s in (1, -1))
        slope = ((STATED[op](up) - STATED[op](down)) * weights).sum() / 2e-6
        assert tensor.grad[2, 3].item() == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_an_operator_may_be_the_function_itself():
    def mine(given):
        return given[0][:, :3]

    assert operator_of(Recipe(op=mine)) is mine
    assert operator_of(Recipe(op="hadamard")) is FUSIONS["hadamard"]
    assert fused_width(mine, 2, 8) == 3


def test_an_operator_that_loses_rows_is_refused():
    with pytest.raises(RecipeError, match="one row per text"):
        fused_width(lambda given: given[0].sum(dim=0), 2, 8)
