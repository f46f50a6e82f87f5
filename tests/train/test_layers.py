import torch

from lefcache.train.layers import Dropout, Linear, Normalise, dropouts


def test_linear_layers_of_members_are_computed_at_once():
    members = [Linear(5, 3) for _ in range(4)]
    whole = Linear(5, 3)
    weights, biases = (
        torch.stack([getattr(each, name) for each in members]) for name in ("weight", "bias")
    )
    rows = torch.randn(4, 7, 5)
    together = torch.func.functional_call(whole, {"weight": weights, "bias": biases}, (rows,))
    shared = torch.func.functional_call(whole, {"weight": weights, "bias": biases}, (rows[0],))
    for number, member in enumerate(members):
        torch.testing.assert_close(together[number], member(rows[number]))
        torch.testing.assert_close(shared[number], member(rows[0]))


def test_dropout_is_torchs_own_unless_masks_come_from_outside():
    rows, layer = torch.ones(50, 4), Dropout(0.5)
    torch.manual_seed(1)
    expected = torch.nn.functional.dropout(rows, 0.5)
    torch.manual_seed(1)
    assert torch.equal(layer(rows), expected)
    layer.draw = torch.full_like  # a mask of nothing but its rate
    assert torch.equal(layer(rows), rows * 0.5)
    assert torch.equal(layer.eval()(rows), rows)


def test_dropouts_are_found_in_order():
    inner = torch.nn.Sequential(Dropout(0.2), torch.nn.ReLU())
    assert [each.p for each in dropouts(torch.nn.Sequential(Dropout(0.1), inner))] == [0.1, 0.2]


def test_rows_are_divided_by_their_length():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(Normalise()(rows), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
