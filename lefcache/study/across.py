"""The same layers of one model in several corpora of a cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lefcache.cache import Cache
from lefcache.cache.learnable import learnable
from lefcache.errors import CorpusError, FeatureError
from lefcache.feature import Feature
from lefcache.rows import Table
from lefcache.wording import did_you_mean, some


@dataclass(frozen=True)
class Across:
    """The tables of one model by corpus, all with the same features, and who chooses for whom.

    `depth` is the model's, in blocks. `notes` say what was left out, and why.
    """

    model: str
    corpora: dict[str, dict[str, Table]]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    depth: int
    notes: tuple[str, ...]


def across(
    cache: Cache, features: str, sources: Sequence[str] = (), targets: Sequence[str] = ()
) -> list[Across]:
    """The layers of each model that all its corpora have.

    Args:
        cache: with several corpora.
        features: as `--models` takes them; of each model all its layers, or some.
        sources: the corpora that choose; none named: all that have the model and can choose.
        targets: those that are chosen for; none named: all of these that have a test as well.

    Raises:
        FeatureError: no such corpus, model or layer, too few layers in common, or nothing to take
            a choice from or to.
        CorpusError: a named corpus that cannot choose, or a named target without a test.
    """
    words: dict[str, list[str]] = {}
    for word in filter(None, features.replace(" ", "").split(",")):
        words.setdefault(word.partition(":")[0], []).append(word)
    if not words:
        raise FeatureError("--models names no feature: see `lef ls`")
    return [
        _of_model(cache, model, ",".join(its), sources, targets) for model, its in words.items()
    ]


def _of_model(
    cache: Cache, model: str, features: str, sources: Sequence[str], targets: Sequence[str]
) -> Across:
    named = [cache.corpus(each) for each in (*sources, *targets)]
    whole = not (sources and targets)  # then all corpora of the cache are meant by the other
    there = [each for each in cache if model in cache[each]] if whole else []
    notes: list[str] = []
    layers: dict[str, list[Feature]] = {}
    for corpus in dict.fromkeys([*named, *there]):
        try:
            layers[corpus] = [*learnable(cache, features, corpus)["train"].features]
        except (CorpusError, FeatureError) as error:
            if corpus in named:
                raise
            notes.append(f"{corpus} takes no part: {error}")
    if not layers:
        near = did_you_mean(model, {name for each in cache for name in cache[each]})
        raise FeatureError(
            f"no corpus in {cache.path} has layers of {model} to choose from{near}: see `lef ls`"
        )
    chosen, left_out = _shared(model, layers)
    notes += left_out
    corpora = {corpus: cache.tables(chosen, corpus) for corpus in layers}
    notes += [line for corpus in corpora for line in cache.unextracted(chosen, corpus)]
    from_, onto = (
        [cache.corpus(each) for each in names] or [*corpora] for names in (sources, targets)
    )
    if not targets:
        onto = [each for each in onto if "test" in corpora[each]]
    if not any(source != target for source in from_ for target in onto):
        raise FeatureError(_nothing_to_move(model, from_, onto))
    used = {name: corpora[name] for name in dict.fromkeys([*from_, *onto])}
    depth = cache.pages(model, "train", from_[0]).depth
    return Across(model, used, tuple(from_), tuple(onto), depth, tuple(notes))


def _shared(model: str, layers: dict[str, list[Feature]]) -> tuple[list[Feature], list[str]]:
    """The features that all corpora have, in the order of the first, and a note on the others."""
    every = [set(each) for each in layers.values()]
    shared = [each for each in next(iter(layers.values())) if all(each in one for one in every)]
    if len(shared) < 2:
        held = "; ".join(f"{name}: {some(map(str, its))}" for name, its in layers.items())
        raise FeatureError(
            f"a choice takes two layers that all corpora have, and of {model} there are "
            f"{len(shared)} ({held}): name other layers, or corpora with --data and --to"
        )
    return shared, [*_lacking(layers, shared)]


def _lacking(layers: dict[str, list[Feature]], shared: list[Feature]) -> Iterator[str]:
    rest = dict.fromkeys(each for its in layers.values() for each in its if each not in shared)
    if rest:
        yield f"not in all of {some(layers)}, and so left out: {some(map(str, rest))}"


def _nothing_to_move(model: str, sources: Sequence[str], targets: Sequence[str]) -> str:
    if not targets:
        return (
            f"no corpus with layers of {model} has a test with labels to be judged by: extract one"
        )
    return (
        f"the layers of {model} are in {some(dict.fromkeys([*sources, *targets]))} alone, and a "
        "choice is taken from one corpus to another: extract the model on a second one"
    )
