"""What a node that has lost its metadata is known by, so that it can be written down anew.

A corpus is known by the hashes of its texts, a model by the digest of its Spec that each of its
splits carries: who extracts with the same again may say the rest.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from lefcache.cache.documents import below, described, gone
from lefcache.feature import RESERVED
from lefcache.spec import SPEC_DIGEST
from lefcache.stores import Home, Store

if TYPE_CHECKING:
    from lefcache.cache.request import Request

BEGUN = "begun"  # of a model: the splits that it was begun on, and that were not taken away since


def lost_splits(store: Store, corpus: str, wanted: Collection[str]) -> dict[str, int]:
    """How many hashes of texts are left of each split of a corpus whose metadata is gone.

    Nothing where it has no models yet, whose vectors are of these texts. DamagedError where the
    hashes of a split that a model has are gone too, or another split is there than those wanted:
    then a corpus of these alone would be another one.
    """
    models = {*below(store, corpus)} - {*RESERVED}
    needed = {split for model in models for split in below(store, f"{corpus}/{model}")}
    if not models:
        return {}
    infos = {each: store.info(f"{corpus}/rows/{each}") for each in below(store, f"{corpus}/rows")}
    found = {split: info.shape[0] for split, info in infos.items() if info is not None}
    if not needed <= found.keys() <= {*wanted}:
        raise gone(corpus)
    return found


def known_by_splits(store: Store, request: "Request") -> bool:
    """Whether all that a model has, which has lost its metadata, was made with this Spec.

    Imported vectors are not known by theirs: it is whatever their owner says.
    """
    model = f"{request.corpus}/{request.model}"
    splits = [f"{model}/{split}" for split in below(store, model)]
    made = [described(store, path) for path in splits if below(store, f"{path}/ledger")]
    digests = {attrs.get(SPEC_DIGEST) for attrs in made}
    return not request.spec.imported and digests == {request.spec.digest}


def splits_gone(store: Home, model: str) -> list[str]:
    """The splits of a model such as `sst2/mistral` that were begun, and of which nothing is there.

    None where the model is from before it knew them.
    """
    here = store.folders(model)
    return [split for split in described(store, model).get(BEGUN, ()) if split not in here]
