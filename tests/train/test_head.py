import numpy as np
import pytest
import torch
from torch import nn

from lefcache.recipe import Recipe
from lefcache.train import FUSIONS, Head

TINY = {"width": 8, "hidden": (6, 4)}


@pytest.mark.parametrize("op", FUSIONS)
@pytest.mark.parametrize("widths", [(5,), (5, 3), (5, 3, 7, 2)])
def test_any_number_of_features_of_any_width_gives_logits(op, widths):
    head = Head(widths, 3, Recipe(op=op, **TINY))
    logits = head(*(torch.randn(9, width) for width in widths))
    assert logits.shape == (9, 3)
    assert logits.min() < 0  # no softmax


def test_its_layers_are_the_papers():
    head = Head((384, 768), 2, Recipe(op="hadamard-res"))
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    shapes = [(layer.in_features, layer.out_features) for layer in layers]
    assert shapes == [(384, 1024), (768, 1024), (3072, 1024), (1024, 256), (256, 2)]
    kinds = [type(layer).__name__ for layer in head.classify]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [head.classify[2].p, head.classify[5].p] == [0.5, 0.3]


def test_it_computes_what_numpy_says():
    head = Head((5, 3), 2, Recipe(op="hadamard", **TINY)).double().eval()
    given = [np.random.default_rng(width).standard_normal((4, width)) for width in (5, 3)]
    weights = {name: value.numpy() for name, value in head.state_dict().items()}

    def linear(name, rows):
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    projected = [np.maximum(linear(f"project.{k}.0", rows), 0) for k, rows in enumerate(given)]
    hidden = np.maximum(linear("classify.0", projected[0] * projected[1]), 0)
    expected = linear("classify.6", np.maximum(linear("classify.3", hidden), 0))
    logits = head(*map(torch.from_numpy, given)).detach().numpy()
    np.testing.assert_allclose(logits, expected)


def test_without_hidden_layers_it_is_linear_after_fusion():
    head = Head((5,), 2, Recipe(width=8, hidden=(), dropout=()))
    assert [type(layer).__name__ for layer in head.classify] == ["Linear"]


def test_a_missing_feature_is_noticed():
    with pytest.raises(ValueError, match="zip"):
        Head((5, 3), 2, Recipe(**TINY))(torch.randn(2, 5))
