import numpy as np
import pytest
import torch

from lefcache.recipe import Recipe
from lefcache.train.objective import Objective, arithmetic, balanced, has_bfloat16

LABELS = np.array([0, 0, 0, 0, 0, 2, 2, 3])
CLASSES = 4  # of which 1 never occurs


def stated(logits, labels, smoothing, weights):
    """Cross-entropy against (1 - s) of the label and s / C of every class, weighted by class."""
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (1 - smoothing) * np.eye(CLASSES)[labels] + smoothing / CLASSES
    losses = -(targets * weights * np.log(shares)).sum(axis=1)
    return losses.sum() / weights[labels].sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", ["none", "balanced"])
def test_it_is_what_numpy_says(smoothing, weighted):
    recipe = Recipe(label_smoothing=smoothing, class_weights=weighted)
    objective = Objective(recipe, torch.from_numpy(LABELS), CLASSES)
    weights = np.ones(CLASSES)
    if weighted == "balanced":
        weights = np.array([8 / (3 * 5), 0, 8 / (3 * 2), 8 / 3])
        objective.weights = objective.weights.double()
    logits = np.random.default_rng(0).standard_normal((3, 8, CLASSES))
    labels = torch.from_numpy(LABELS)
    given = torch.from_numpy(logits).requires_grad_()
    together = objective(given, labels)
    for number, member in enumerate(logits):
        expected = stated(member, LABELS, smoothing, weights)
        assert objective(given[number], labels).item() == pytest.approx(expected)
        assert together[number].item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(lambda values: objective(values, labels), given)


def test_balanced_weights_are_those_of_scikit_learn():
    """n_samples / (n_classes * np.bincount(y)), of the classes that occur."""
    found = balanced(torch.from_numpy(LABELS), CLASSES).numpy()
    np.testing.assert_allclose(found, [8 / (3 * 5), 0, 8 / (3 * 2), 8 / (3 * 1)], rtol=1e-6)


def test_products_are_as_precise_as_asked_for():
    rows = torch.ones(2, 2)
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with arithmetic(Recipe(precision=name), torch.device("cpu")):
            assert (rows @ rows).dtype == dtype


@pytest.mark.parametrize(
    ("facts", "has"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_a_processor_has_bfloat16_or_imitates_it(facts, has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: facts, raising=False)
    assert has_bfloat16(torch.device("cpu")) is has
