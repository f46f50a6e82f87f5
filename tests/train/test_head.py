import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from lefcache.recipe import OPS, Recipe
from lefcache.train import Head
from lefcache.train.head import Vote, new_head

TINY = {"width": 16, "hidden": (6, 4), "dropout": (0.5, 0.3)}
EQUAL = ("mix",)  # operators of features of one width
SHAPES = [(5,), (5, 3), (5, 3, 7, 2)]


def shapes(op):
    return [(5,) * len(widths) for widths in SHAPES] if op in EQUAL else SHAPES


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("op", OPS)
def test_any_number_of_features_of_any_width_gives_logits(op, preset):
    torch.manual_seed(0)
    for widths in shapes(op):
        head = new_head(widths, 3, Recipe(op=op, preset=preset, **TINY))
        logits = head(*(torch.randn(9, width) for width in widths))
        assert logits.shape == (9, 3)
        assert (logits.sum(dim=1) - 1).abs().max() > 1e-3  # no softmax
        logits.sum().backward()
        assert all(each.grad is not None for each in head.parameters())


@pytest.mark.parametrize("preset", ["paper", "released"])
@pytest.mark.parametrize("op", OPS)
def test_stacked_heads_are_computed_at_once(op, preset):
    recipe = Recipe(op=op, preset=preset, **TINY)
    members = [new_head((6, 6), 3, recipe).double().eval() for _ in range(3)]
    rows = [torch.randn(3, 9, 6, dtype=torch.float64) for _ in range(2)]
    stacked, buffers = stack_module_state(members)
    together = functional_call(members[0], (stacked, buffers), tuple(rows))
    for number, member in enumerate(members):
        alone = member(*(each[number] for each in rows))
        torch.testing.assert_close(together[number], alone)


def linears(head):
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear)]
    return [(layer.in_features, layer.out_features) for layer in layers]


def dropped(head):
    return [layer.p for layer in head.classify if isinstance(layer, nn.Dropout)]


def test_its_layers_are_the_papers():
    head = Head((384, 768), 2, Recipe(op="hadamard-res"))
    assert linears(head) == [(384, 1024), (768, 1024), (3072, 1024), (1024, 256), (256, 2)]
    kinds = [type(layer).__name__ for layer in head.classify]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert dropped(head) == [0.5, 0.3]


CLASSIFIER = [(1024, 256), (256, 2)]


@pytest.mark.parametrize(
    ("op", "widths", "shapes", "rates"),
    [
        ("concat", (384, 768), [(1152, 1024), *CLASSIFIER], [0.5, 0.3]),
        ("concat-res", (384, 768), [(1152, 1024), *CLASSIFIER], [0.5, 0.3]),
        ("concat", (384, 768, 384), [(1536, 1024), *CLASSIFIER], [0.5, 0.5]),
        ("sum", (384, 768), [(384, 384), (768, 384), (384, 1024), *CLASSIFIER], [0.5, 0.3]),
        ("sum-res", (4, 8), [(4, 4), (8, 4), (16, 1024), *CLASSIFIER], [0.5, 0.3]),
        ("hadamard", (384, 768), [(768, 384), (384, 1024), *CLASSIFIER], [0.5, 0.3]),
        ("hadamard", (384, 384), [(384, 1024), *CLASSIFIER], [0.5, 0.3]),
        ("quaternion", (4, 8), [(4, 1024), (8, 1024), (1024, 1024), *CLASSIFIER], [0.5, 0.3]),
        ("quaternion-res", (4, 8), [(4, 1024), (8, 1024), (1036, 1024), *CLASSIFIER], [0.5, 0.3]),
        (
            "moe",
            (4, 8),
            [(12, 5120), (12, 512), (512, 256), (256, 5), (1024, 512), (512, 256), (256, 2)],
            [0.4, 0.3],
        ),
        ("mix", (8, 8, 8), [(8, 1024), *CLASSIFIER], [0.5, 0.3]),  # layers of one model
    ],
)
def test_its_layers_are_those_of_the_released_code(op, widths, shapes, rates):
    head = Head(widths, 2, Recipe(op=op, preset="released"))
    assert linears(head) == shapes
    assert dropped(head) == rates
    assert not any(isinstance(layer, nn.ReLU) for layer in head.project.modules())


def test_the_papers_experts_read_projected_features():
    head = Head((4, 8), 2, Recipe(op="moe"))
    gate = [(2048, 512), (512, 256), (256, 5)]
    assert linears(head) == [
        *((4, 1024), (8, 1024), (2048, 5120)),
        *gate,
        *((1024, 1024), (1024, 256), (256, 2)),
    ]


def computed(recipe, widths):
    """A head in float64, its features, what it says, and `linear(name, rows)` by its weights."""
    head = new_head(widths, 2, recipe).double().eval()
    given = [np.random.default_rng(place).standard_normal((4, w)) for place, w in enumerate(widths)]
    weights = {name: value.numpy() for name, value in head.state_dict().items()}

    def linear(name, rows):
        return rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    logits = head(*map(torch.from_numpy, given)).detach().numpy()
    return given, logits, linear


def classified(fused, linear, place="classify"):
    hidden = np.maximum(linear(f"{place}.0", fused), 0)
    return linear(f"{place}.6", np.maximum(linear(f"{place}.3", hidden), 0))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_it_computes_what_numpy_says():
    given, logits, linear = computed(Recipe(op="hadamard", **TINY), (5, 3))
    one, other = (np.maximum(linear(f"project.{k}.0", rows), 0) for k, rows in enumerate(given))
    np.testing.assert_allclose(logits, classified(one * other, linear))


def test_a_residual_stands_beside_what_was_projected():
    given, logits, linear = computed(Recipe(op="sum-res", **TINY), (5, 3))
    one, other = (np.maximum(linear(f"project.{k}.0", rows), 0) for k, rows in enumerate(given))
    expected = classified(np.concatenate([one, other, one + other], axis=1), linear)
    np.testing.assert_allclose(logits, expected)


def test_a_released_residual_stands_beside_the_untouched_inputs():
    recipe = Recipe(op="sum-res", preset="released", **TINY)
    given, logits, linear = computed(recipe, (5, 3))
    fused = unit(linear("project.0.0", given[0])) + unit(linear("project.1.0", given[1]))
    expected = classified(np.concatenate([*given, fused], axis=1), linear)
    np.testing.assert_allclose(logits, expected)


def test_a_released_hadamard_projects_the_wider_one_only():
    recipe = Recipe(op="hadamard", preset="released", **TINY)
    given, logits, linear = computed(recipe, (3, 5))
    expected = classified(given[0] * unit(linear("project.1.0", given[1])), linear)
    np.testing.assert_allclose(logits, expected)
    given, logits, linear = computed(recipe, (5, 5))
    np.testing.assert_allclose(logits, classified(given[0] * given[1], linear))


def test_a_released_product_is_normalised():
    recipe = Recipe(op="multiplication", preset="released", **TINY)
    given, logits, linear = computed(recipe, (5, 3))
    one, other = (linear(f"project.{k}", rows).reshape(4, 4, 4) for k, rows in enumerate(given))
    expected = classified(unit((one @ other).reshape(4, 16)), linear)
    np.testing.assert_allclose(logits, expected)


def test_mixed_layers_go_through_one_projection():
    given, logits, linear = computed(Recipe(op="mix", **TINY), (5, 5, 5))
    mixed = np.maximum(linear("fuse.1.0", np.mean(given, axis=0)), 0)
    np.testing.assert_allclose(logits, classified(mixed, linear))
    given, logits, linear = computed(Recipe(op="mix", preset="released", **TINY), (5, 5, 5))
    np.testing.assert_allclose(logits, classified(np.mean(given, axis=0), linear))


def test_a_mix_says_what_its_layers_count_for():
    head = new_head((5, 5), 2, Recipe(op="mix", **TINY))
    with torch.no_grad():
        head.fuse[0].weights.copy_(torch.tensor([0.0, np.log(3) / 30]))
    assert head.layer_weights == pytest.approx((0.25, 0.75))
    assert new_head((5, 5), 2, Recipe(**TINY)).layer_weights is None


def test_a_vote_is_the_mean_of_log_probabilities():
    vote = new_head((5, 3), 3, Recipe(op="vote", **TINY)).eval()
    assert isinstance(vote, Vote)
    rows = [torch.randn(7, 5), torch.randn(7, 3)]
    alone = [member(each).softmax(dim=1) for member, each in zip(vote.members, rows, strict=True)]
    expected = (alone[0].log() + alone[1].log()) / 2
    torch.testing.assert_close(vote(*rows), expected)


def test_without_hidden_layers_it_is_linear_after_fusion():
    head = Head((5,), 2, Recipe(width=8, hidden=(), dropout=()))
    assert [type(layer).__name__ for layer in head.classify] == ["Linear"]


@pytest.mark.parametrize("op", ["concat", "vote", "moe"])
def test_a_missing_feature_is_noticed(op):
    with pytest.raises(ValueError, match="zip"):
        new_head((5, 3), 2, Recipe(op=op, **TINY))(torch.randn(2, 5))
