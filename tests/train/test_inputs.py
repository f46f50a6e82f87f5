import numpy as np
import pytest
import torch

from lefcache.train import inputs
from lefcache.train.inputs import Standardise, measure


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return (generator.standard_normal((50, 4)) * [1, 20, 0.1, 3] + [0, 5, 1000, -2]).astype("<f4")


def test_the_rows_of_an_index_get_mean_0_and_deviation_1(rows, monkeypatch):
    monkeypatch.setattr(inputs, "CHUNK_ROWS", 7)
    index = np.arange(0, 50, 2)
    layer = Standardise(4)
    layer.measure(torch.from_numpy(rows), torch.from_numpy(index))
    exact = rows.astype(np.float64)
    mean, deviation = exact[index].mean(axis=0), exact[index].std(axis=0)
    np.testing.assert_allclose(layer.mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(layer.scale.numpy(), 1 / deviation, rtol=1e-6)
    found = layer(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(found, (exact - mean) / deviation, atol=2e-3)


@pytest.mark.parametrize("noise", [0, 1e-8])
def test_what_never_changes_is_only_centred(noise):
    rows = torch.full((30, 2), 0.3, dtype=torch.float64)
    rows[::2, 1] += noise
    layer = Standardise(2)
    layer.measure(rows, torch.arange(30))
    assert torch.equal(layer.scale, torch.ones(2))
    assert layer(rows.float()).abs().max() < 1e-6


def test_half_precision_is_measured_without_overflow():
    rows = torch.full((100, 1), 60000, dtype=torch.float16)
    rows[::2] = 50000
    layer = Standardise(1)
    layer.measure(rows, torch.arange(100))
    assert layer.mean.item() == pytest.approx(55000, rel=1e-3)
    assert 1 / layer.scale.item() == pytest.approx(5000, rel=1e-2)


def test_only_what_standardises_is_measured(rows):
    layers = [torch.nn.Identity(), Standardise(4)]
    measure(layers, [torch.from_numpy(rows)] * 2, torch.arange(50))
    assert layers[1].mean.any()


def test_members_may_be_stacked(rows):
    members = [Standardise(4) for _ in range(2)]
    for member, low in zip(members, (0, 25), strict=True):
        member.measure(torch.from_numpy(rows), torch.arange(low, low + 25))
    stacked = {
        name: torch.stack([getattr(each, name) for each in members]) for name in ("mean", "scale")
    }
    whole = torch.from_numpy(np.stack([rows, rows]))
    together = torch.func.functional_call(members[0], stacked, (whole,))
    for number, member in enumerate(members):
        torch.testing.assert_close(together[number], member(whole[number]))
