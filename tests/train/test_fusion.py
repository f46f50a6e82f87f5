import numpy as np
import pytest
import torch
from torch.func import functional_call, stack_module_state

from lefcache.errors import RecipeError
from lefcache.feature import Feature
from lefcache.recipe import Recipe
from lefcache.train.fusion import (
    FUSIONS,
    Experts,
    Mix,
    check_features,
    fused_width,
    normed_multiplication,
    operator_of,
)

WIDTH = 16  # a square, and groups of 4


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def softmax(rows):
    raised = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def product(given):
    """Row by row, as matrices."""
    fused = []
    for vectors in zip(*given, strict=True):
        matrix = np.eye(4)
        for vector in vectors:
            matrix = matrix @ vector.reshape(4, 4)
        fused.append(matrix.ravel())
    return np.stack(fused)


# 1, i, j, k as 4 x 4 matrices that multiply on the left: an independent statement of Hamilton's.
UNITS = np.zeros((4, 4, 4))
for one, other, result, sign in [
    *((0, k, k, 1) for k in range(4)),
    *((k, 0, k, 1) for k in range(1, 4)),
    *((k, k, 0, -1) for k in range(1, 4)),
    *((1, 2, 3, 1), (2, 3, 1, 1), (3, 1, 2, 1), (2, 1, 3, -1), (3, 2, 1, -1), (1, 3, 2, -1)),
]:
    UNITS[one, result, other] = sign


def hamilton(given):
    fused = given[0].reshape(5, -1, 4)
    for each in given[1:]:
        matrices = np.einsum("bgu,urc->bgrc", fused, UNITS)
        fused = np.einsum("bgrc,bgc->bgr", matrices, each.reshape(5, -1, 4))
    return fused.reshape(5, -1)


def experts(e, p):
    z = np.concatenate([unit(each) for each in e], axis=1)

    def linear(name, rows):
        return rows @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    said = np.maximum(linear("experts", z), 0).reshape(len(z), 5, WIDTH)
    gate = np.maximum(linear("gate.0", z), 0)
    gate = softmax(linear("gate.6", np.maximum(linear("gate.3", gate), 0)))
    return sum(gate[:, [k]] * said[:, k] for k in range(5))


# Each operator as plain numpy says it, on a list of (B, W) and the module's parameters, if any.
STATED = {
    "concat": lambda e, p: np.concatenate(e, axis=1),
    "sum": lambda e, p: np.sum(e, axis=0),
    "hadamard": lambda e, p: np.prod(e, axis=0),
    "multiplication": lambda e, p: product(e),
    "quaternion": lambda e, p: hamilton(e),
    "moe": experts,
    "mix": lambda e, p: np.tensordot(softmax(30 * p["weights"]), np.stack(e), axes=1),
}


def features(count):
    generator = np.random.default_rng(count)
    return [generator.standard_normal((5, WIDTH)) for _ in range(count)]


def made(op, count):
    """The operator, in float64 and without dropout, and its parameters as numpy has them."""
    torch.manual_seed(count)
    operator = operator_of(Recipe(op=op, width=WIDTH), [WIDTH] * count)
    if not isinstance(operator, torch.nn.Module):
        return operator, {}
    operator.double().eval()
    if op == "mix":
        torch.nn.init.normal_(operator.weights, std=0.03)
    return operator, {name: value.numpy() for name, value in operator.state_dict().items()}


def test_every_operator_is_stated():
    assert STATED.keys() == FUSIONS.keys()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("op", FUSIONS)
def test_an_operator_does_what_numpy_says(op, count):
    given = features(count)
    operator, parameters = made(op, count)
    fused = operator([torch.from_numpy(each) for each in given])
    np.testing.assert_allclose(fused.detach().numpy(), STATED[op](given, parameters))


@pytest.mark.parametrize("op", FUSIONS)
def test_its_width_is_found_by_a_trial(op):
    operator = operator_of(Recipe(op=op, width=WIDTH), [WIDTH] * 3)
    assert fused_width(operator, [WIDTH] * 3) == (3 * WIDTH if op == "concat" else WIDTH)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("op", [op for op in FUSIONS if op != "moe"])
def test_its_gradient_is_right(op, count):
    operator, _ = made(op, count)
    given = [torch.from_numpy(each[:2]).requires_grad_() for each in features(count)]
    learnt = [*operator.parameters()] if isinstance(operator, torch.nn.Module) else []
    assert torch.autograd.gradcheck(lambda *_: operator(given), (*given, *learnt))


@pytest.mark.parametrize("op", FUSIONS)
def test_its_gradient_is_that_of_numpy_differences(op):
    given = features(2)
    operator, parameters = made(op, 2)
    weights = np.random.default_rng(9).standard_normal(STATED[op](given, parameters).shape)
    tensors = [torch.from_numpy(each).requires_grad_() for each in given]
    (operator(tensors) * torch.from_numpy(weights)).sum().backward()

    def slope(array, place):
        """By a step up and a step down of one number."""
        values = []
        for step in (1e-6, -1e-6):
            array[place] += step
            values.append((STATED[op](given, parameters) * weights).sum())
            array[place] -= step
        return (values[0] - values[1]) / 2e-6

    for array, tensor in zip(given, tensors, strict=True):
        assert tensor.grad[2, 3].item() == pytest.approx(slope(array, (2, 3)), rel=1e-5, abs=1e-8)
    for name, array in parameters.items():
        found = operator.get_parameter(name).grad
        # The likeliest to be wrong is the largest.
        place = np.unravel_index(int(found.abs().argmax()), found.shape)
        found = found[place].item()
        assert found == pytest.approx(slope(array, place), rel=1e-5, abs=1e-8)


def test_the_authors_product_has_length_1():
    given = [torch.from_numpy(each) for each in features(3)]
    expected = unit(product(features(3)))
    np.testing.assert_allclose(normed_multiplication(given).numpy(), expected)
    released = Recipe(op="multiplication", preset="released", width=WIDTH)
    assert operator_of(released, [WIDTH] * 3) is normed_multiplication


def test_quaternions_multiply_as_hamilton_carved_them():
    one, i, j, k = torch.eye(4).unsqueeze(1)
    product = FUSIONS["quaternion"]
    for given in ([i, i], [j, j], [k, k], [i, j, k]):
        assert torch.equal(product(given), -one)
    assert torch.equal(product([j, i]), -k)


def test_a_mix_begins_as_the_mean():
    given = [torch.from_numpy(each) for each in features(4)]
    torch.testing.assert_close(Mix([WIDTH] * 4, 8).double()(given), torch.stack(given).mean(dim=0))


def test_a_gate_drops_and_its_experts_do_not_lose_rows_of_zeros():
    operator = Experts([4, 4], 8)
    fused = operator([torch.zeros(3, 4, requires_grad=True), torch.zeros(3, 4)])
    assert torch.isfinite(fused).all()
    rows = torch.ones(64, 4)
    assert not torch.equal(operator([rows, rows])[0], operator([rows, rows])[0])
    operator.eval()
    assert torch.equal(operator([rows, rows])[0], operator([rows, rows])[0])


@pytest.mark.parametrize("op", FUSIONS)
def test_stacked_members_are_computed_at_once(op):
    members = [made(op, 2)[0] for _ in range(3)]
    given = [torch.from_numpy(np.stack([each, each + 1, -each])) for each in features(2)]
    if isinstance(members[0], torch.nn.Module):
        for number, member in enumerate(members):
            torch.manual_seed(number)
            for parameter in member.parameters():
                torch.nn.init.normal_(parameter, std=0.1)
        stacked, _ = stack_module_state(members)
        together = functional_call(members[0], stacked, (given,))
    else:
        together = members[0](given)
    for number, member in enumerate(members):
        alone = member([each[number] for each in given])
        torch.testing.assert_close(together[number], alone)


def test_an_operator_may_be_the_function_itself():
    def mine(given):
        return given[0][:, :3]

    assert operator_of(Recipe(op=mine), [8, 8]) is mine
    assert operator_of(Recipe(op="hadamard-res"), [8, 8]) is FUSIONS["hadamard"]
    assert fused_width(mine, [8, 8]) == 3


def test_an_operator_that_loses_rows_is_refused():
    with pytest.raises(RecipeError, match=r"made \(8,\) of tensors \(2, 8\), \(2, 8\): .*one row"):
        fused_width(lambda given: given[0].sum(dim=0), [8, 8])


@pytest.mark.parametrize(
    ("op", "width", "message"),
    [
        ("quaternion", 10, "groups of 4 numbers, and width 10 is no multiple of 4: .* 8 or 12"),
        ("quaternion", 3, "give width 4"),
        ("multiplication", 1000, "width 1000 is no square: give width 961 or 1024"),
        ("multiplication", 2, "give width 1 or 4"),
    ],
)
def test_a_width_that_does_not_divide_is_refused_with_the_next_ones(op, width, message):
    with pytest.raises(RecipeError, match=message):
        FUSIONS[op]([torch.zeros(5, width)] * 2)
    for end in ("", "-res"):
        for preset in ("paper", "released"):
            with pytest.raises(RecipeError, match=message):
                Recipe(op=op + end, width=width, preset=preset)


def test_layers_of_different_models_are_not_mixed():
    recipe = Recipe(op="mix")
    check_features(recipe, [Feature("a", 1), Feature("a", 2)])
    with pytest.raises(RecipeError, match=r"one model, and these are of a and b: .*a:all"):
        check_features(recipe, [Feature("a", 1), Feature("b", 2)])
    with pytest.raises(RecipeError, match=r"these features are 8, 16 wide"):
        Mix([16, 8, 16], 8)
