"""The command that makes a finished study once more, from what the study itself says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lefcache.cache.hints import DEFAULT_CACHE
from lefcache.errors import RecipeError
from lefcache.feature import Feature, Layer, describe_layers
from lefcache.finished import rounded_to
from lefcache.recipe import Recipe
from lefcache.results import Result
from lefcache.wording import command_line


def command_of(result: Result, cache: object) -> str:
    """The words to type, quoted for a shell."""
    key, values = result.payload["key"], result.payload["result"]
    make = COMMANDS.get(result.kind, _other)
    words = make(key)
    words = ["lef", *words, *_shared(key, values, SEEDS.get(words[0], 1))]
    return command_line(words) + cache_words(cache)


def cache_words(cache: object) -> str:
    """` --cache FOLDER`, to be added to a command, or nothing for the default folder."""
    return "" if str(cache) == DEFAULT_CACHE else f" {command_line(['--cache', str(cache)])}"


def features_words(features: Sequence[str]) -> str:
    """Features as `--models` takes them, runs of layers of a model shortened."""
    whole: dict[tuple[str, str | None], list[Layer]] = {}
    rest = []
    for text in features:
        feature = Feature.parse(text)
        if isinstance(feature.layer, int):
            whole.setdefault((feature.model, feature.pool), []).append(feature.layer)
        else:
            rest.append(text)
    written = [
        f"{model}:{run}" + ("" if pool == "mean" else f"@{pool}")
        for (model, pool), layers in whole.items()
        for run in describe_layers(layers).split(", ")
    ]
    return ",".join([*written, *rest])


def _sweep(key: Mapping[str, Any]) -> list[str]:
    words = ["sweep", "--data", key["corpus"], "--models", features_words(key["features"])]
    words += ["--probe", key["probe"]] if key["probe"] != "ridge" else []
    return words + (["--show-test"] if key.get("show_test") else [])


def _fuse(key: Mapping[str, Any]) -> list[str]:
    words = ["--data", key["corpus"], "--models", ",".join(key["features"])]
    if store := rounded_to(key):
        return ["scale", *words, "--store", store]
    return ["fuse", *words]


def _transfer(key: Mapping[str, Any]) -> list[str]:
    """The part that is about one target."""
    sources = ",".join(source["corpus"] for source in key["sources"])
    words = ["transfer", "--models", features_words(key["features"])]
    words += ["--data", sources, "--to", key["corpus"]]
    return words + (["--probe", key["probe"]] if key["probe"] != "ridge" else [])


def _scale(key: Mapping[str, Any]) -> list[str]:
    """Features in the order in which they were given, which is that of the steps, or not."""
    words = ["scale", "--data", key["corpus"], "--models", ",".join(key["features"])]
    words += ["--order", key["order"]] if key.get("order") else []
    return words + (["--store", ",".join(key["stores"])] if key.get("stores") else [])


def _select(key: Mapping[str, Any]) -> list[str]:
    words = ["select", "--data", key["corpus"], "--models", features_words(key["features"])]
    words += ["--budget", key["budget"]]
    return words + (["--score", key["score"]] if key["score"] != "ridge" else [])


def _baseline(key: Mapping[str, Any]) -> list[str]:
    """Any study makes it; a sweep is the quickest."""
    return ["sweep", "--data", key["corpus"], "--models", "MODEL"]


def _pairs(key: Mapping[str, Any]) -> list[str]:
    words = ["pairs", "--data", key["corpus"], "--models", features_words(key["features"])]
    return words + (["--rows", str(key["n_train"])] if key.get("n_train") else [])


def _other(key: Mapping[str, Any]) -> list[str]:
    """A kind of study that came later is called by its own name."""
    words = [str(key["kind"]), "--data", str(key.get("corpus", ""))]
    return words + (["--models", features_words(key["features"])] if key.get("features") else [])


COMMANDS = {
    "sweep": _sweep,
    "fuse": _fuse,
    "pairs": _pairs,
    "transfer": _transfer,
    "scale": _scale,
    "select": _select,
    "baseline": _baseline,
}

SEEDS = {"scale": 3}  # the usual number of a command, where it is not 1


def _shared(key: Mapping[str, Any], values: Mapping[str, Any], usual: int) -> Iterable[str]:
    """Seeds, rows, protocol and recipe, as far as they are not the usual ones."""
    seeds = key.get("seeds") or [0]
    words = ["--seeds", str(len(seeds))] if len(seeds) != usual else []
    words += ["--seed", str(seeds[0])] if seeds[0] else []
    sized = key.get("n_train") and key["kind"] != "pairs"
    words += ["--n-train", str(key["n_train"])] if sized else []
    words += ["--protocol", "paper"] if values.get("protocol") == "paper" else []
    return [*words, *_recipe(key.get("recipe"))]


def _recipe(written: Mapping[str, Any] | None) -> list[str]:
    if not written:
        return []
    try:
        recipe = Recipe.from_json(written)
        usual = Recipe(op=recipe.op, preset=recipe.preset).to_json()
    except RecipeError:  # an operator of one's own, or a newer lefcache's setting
        return ["--op", str(written.get("op", ""))]
    changed = {name: value for name, value in written.items() if value != usual.get(name)}
    words = ["--op", str(written["op"])]
    for name, value in changed.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += [flag, text]
    return words
