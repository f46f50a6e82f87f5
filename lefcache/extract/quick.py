"""The short examination at the end of every load: a few passes over two short texts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from lefcache.extract.checks.layers import magnitude
from lefcache.extract.checks.probe import Probe, states_of
from lefcache.extract.checks.rows import neighbours, packing
from lefcache.extract.checks.tokens import vocabulary
from lefcache.extract.checks.weights import complete, in_evaluation, whole
from lefcache.extract.finding import refuse
from lefcache.extract.huggingface import PROBE, HuggingFaceBackbone
from lefcache.extract.models import ModelSource
from lefcache.extract.packing import PACKED


def quick(backbone: HuggingFaceBackbone) -> None:
    """Raise DefectError for a model whose states are not finite, or depend on their neighbours.

    That its layers are those it reports was checked when they were found.
    """
    encoded = sorted(backbone.tokenize(PROBE), key=len)
    # The shorter text alone and beside the longer one: padding is what goes wrong most often.
    alone, together = states_of(backbone, encoded[:1]), states_of(backbone, encoded)
    probe = Probe(backbone, encoded[:1], alone, together[:1])
    found = [in_evaluation(backbone.network), magnitude(probe)]
    if backbone.spec.attention == PACKED:
        # All of the texts: of the first one, no text that stands before it could be seen.
        found.append(packing(replace(probe, encoded=encoded, together=together)))
    # One after the other: what is wrong first is why the rest is.
    for finding in (*found, neighbours(probe)):
        refuse(backbone.name, backbone.source, [finding])


def check_loaded(
    model: ModelSource, tokenizer: Any, network: nn.Module, info: Mapping[str, Any], all_of_it: bool
) -> None:
    """Raise DefectError for what transformers loads without a word, before it is run.

    `info` is its report of the keys that were missing, and of those that were not expected,
    which tell something where `all_of_it` was asked for.
    """
    found = [complete(info["missing_keys"]), vocabulary(tokenizer, network)]
    if all_of_it:
        found.append(whole(info["unexpected_keys"], network))
    refuse(model.name, model.source, found)
