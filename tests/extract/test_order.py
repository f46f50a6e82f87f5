import pytest

from lefcache.errors import FeatureError
from lefcache.extract import place_order
from lefcache.extract.pooling import POOLINGS
from lefcache.testing import FakeBackbone


@pytest.fixture
def owning():
    return FakeBackbone(own=lambda states, span: 2 * POOLINGS["mean"](states, span))


@pytest.mark.parametrize(
    ("choices", "arrays"),
    [
        ({}, ["mean/0", "mean/1", "mean/2", "mean/3", "mean/last", "own/last"]),
        ({"layers": "1,2"}, ["mean/1", "mean/2"]),
        ({"layers": "1,last"}, ["mean/1", "mean/last", "own/last"]),
        ({"layers": "1,last", "pools": ["mean"]}, ["mean/1", "mean/last"]),
        ({"layers": "last", "pools": ["own"]}, ["own/last"]),
        ({"layers": "1,last", "pools": ["own", "max"]}, ["own/last", "max/1", "max/last"]),
    ],
)
def test_own_is_a_pool_of_last_alone(owning, make_corpus, choices, arrays):
    assert place_order(owning, make_corpus(4), **choices).arrays == tuple(arrays)


def test_own_is_refused_where_there_is_none(owning, make_corpus):
    with pytest.raises(FeatureError, match=r"no pool own: it has mean, .*max$"):
        place_order(FakeBackbone(), make_corpus(4), pools=["own"])
    with pytest.raises(FeatureError, match=r"--layers 1\.\.2,last"):
        place_order(owning, make_corpus(4), layers="1,2", pools=["own"])
