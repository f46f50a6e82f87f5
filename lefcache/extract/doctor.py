"""A model examined: is every vector that it gives the one it should give?"""

from collections.abc import Callable, Sequence

from lefcache.cache import Cache
from lefcache.corpus import Corpus
from lefcache.extract.checks import CHECKS, packing
from lefcache.extract.checks.probe import Probe
from lefcache.extract.drift import drift
from lefcache.extract.finding import DefectError, Diagnosis, Finding
from lefcache.extract.huggingface import HuggingFaceBackbone
from lefcache.extract.packing import PACKED
from lefcache.extract.quick import quick
from lefcache.extract.stored import examine_stored

__all__ = ["DefectError", "Diagnosis", "Finding", "examine", "examine_stored", "quick"]

OnCheck = Callable[[str], None]  # called with the name of each check before it begins


def examine(
    backbone: HuggingFaceBackbone,
    texts: Sequence[str] | None = None,
    *,
    with_drift: bool = True,
    stored: tuple[Cache, Corpus] | None = None,
    on_check: OnCheck | None = None,
) -> Diagnosis:
    """Run every check on a few texts of several lengths, or on those given.

    `with_drift` loads the model a second time, in another arithmetic; `stored` compares what a
    cache holds of a corpus with what the model gives now. Load the backbone with
    `checked=False`, or a defect ends the load with the first thing that is wrong.
    """
    say = on_check or (lambda name: None)
    say("probe")
    probe = Probe.of(backbone, texts)
    findings = []
    more: dict[str, Callable[[Probe], Finding]] = {}
    if backbone.spec.attention == PACKED:
        more["packing"] = packing
    if with_drift:
        more["drift"] = drift
    for name, check in (CHECKS | more).items():
        say(name)
        findings.append(check(probe))
    if stored:
        say("cache")
        cache, corpus = stored
        findings += examine_stored(cache, backbone, corpus)
    return Diagnosis(backbone.name, tuple(findings))
