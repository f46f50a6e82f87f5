"""The commands that a message tells the user to type, built from what the cache itself knows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lefcache.aliases import HUB, hub_entry
from lefcache.cache.documents import described
from lefcache.corpus import place_of
from lefcache.feature import Layer, describe_layers
from lefcache.files import Url, lies_there, path_of
from lefcache.registry import MODELS
from lefcache.spec import Spec
from lefcache.stores import Store
from lefcache.wording import command_line, did_you_mean, nearest

if TYPE_CHECKING:
    from lefcache.cache.pages import Pages
    from lefcache.cache.tree import Cache

Words = list[str]  # of a command

DEFAULT_CACHE = "lef-cache"
SETTLED = ("dtype", "attention")  # settings whose `auto` means, on a cache, what it was made with


def extract_command(
    cache: Path | Url,
    data: str,
    model: str,
    layers: Iterable[Layer] = (),
    pools: Iterable[str] = (),
    more: Iterable[str] = (),
) -> str:
    """`lef extract ...` with the flags that are not defaults, quoted for a shell."""
    return command_line(extract_words(cache, data, model, layers, pools, more))


def extract_words(
    cache: Path | Url,
    data: str,
    model: str,
    layers: Iterable[Layer] = (),
    pools: Iterable[str] = (),
    more: Iterable[str] = (),
) -> Words:
    """The words of that command."""
    words = ["lef", "extract"]
    if str(cache) != DEFAULT_CACHE:
        words += ["--cache", str(cache)]
    return [*words, "--data", data, "--model", model, *layer_words(layers, pools), *more]


def layer_words(layers: Iterable[Layer], pools: Iterable[str]) -> Words:
    """The flags that name layers and poolings."""
    written = describe_layers(list(layers)).replace(" ", "")
    words = ["--layers", written] if written else []
    return words + [word for pool in pools for word in ("--pool", pool)]


def spelled(commands: Iterable[Words]) -> str:
    """Commands to type, one after the other."""
    return " && ".join(map(command_line, commands))


def way_to(cache: "Cache", model: str, corpus: str, data: str) -> str:
    """What was meant, or the command that runs a model which is not here; what can work."""
    attrs, place = described(cache.store, corpus), place_of(data)
    if not (attrs or lies_there(path_of(place)) or hub_entry(place)):
        near = nearest(corpus, [*cache, *HUB, "demo"])
        if near != corpus:
            meant = did_you_mean(corpus, [near])
            return f"; there is no data of this name{meant}: `lef data` lists what there is"
    if model not in MODELS and (near := nearest(model, cache.get(corpus, ()))):
        return f"; did you mean {near}?"
    known = nearest(model, MODELS) or model
    source, more = attrs.get("source") or data, corpus_flags(attrs)
    command = extract_command(cache.path, source, known, more=more)
    add = "add it" if known == model else f"did you mean {known}? Add it"
    return f"; {add} with: {command}"


def key_meant(cache: "Cache", word: str) -> str:
    """` (did you mean sst2/e5?)` after a word that is no corpus: a model's name alone is no key."""
    keys = [(model, f"{corpus}/{model}") for corpus, node in cache.items() for model in node]
    near = nearest(word, [*cache, *(model for model, _ in keys)])
    meant = [near] * (near in cache) + [key for model, key in keys if model == near]
    return f" (did you mean {' or '.join(meant)}?)" if near else ""


def command_again(
    store: Store,
    corpus: str,
    model: str,
    arrays: Iterable[str],
    more: Iterable[str],
    known: Iterable[str] = (),
) -> list[Words]:
    """The commands that run a model of the cache once more, for arrays such as `mean/24`.

    Everything else is as it was run before. `known` are arrays that may be asked for as well.
    """
    data, made = described(store, corpus), described(store, f"{corpus}/{model}")
    source = made.get("source")
    named = f"{model}={source}" if source and source != model else model
    spec, provenance = Spec.from_json(made["spec"]), made.get("provenance") or {}
    flags = [*more, *corpus_flags(data), *model_flags(spec, provenance, made.get("flags", ()))]
    return [
        extract_words(store.root, data.get("source") or corpus, named, layers, pools, flags)
        for layers, pools in products(arrays, known)
    ]


def extract_again(splits: Sequence["Pages"], arrays: Sequence[str]) -> list[Words]:
    """The commands that compute these arrays of some splits of a model once more, alike in all."""
    first, rows = splits[0], {each.split: each.rows for each in splits}
    dtype, store = first.attrs.get("store_dtype", "auto"), first.store
    # What an array is stored as is settled by its first block.
    settled = dtype == "auto" or {*arrays} <= {*first.arrays}
    stored = [] if settled else ["--store-dtype", dtype]
    return [
        command
        for more in split_flags(rows, corpus_rows(store, first.corpus))
        for command in command_again(
            store, first.corpus, first.model, arrays, [*more, *stored], first.asked
        )
    ]


def corpus_rows(store: Store, corpus: str) -> dict[str, int]:
    """How many rows each split of a corpus has, whatever of them was extracted."""
    return dict(described(store, corpus)["splits"])


def more_splits(
    store: Store, corpus: str, model: str, arrays: Iterable[str], splits: Sequence[str]
) -> list[Words]:
    """The commands that run a model on more splits, or import it there, for these arrays."""
    if Spec.from_json(described(store, f"{corpus}/{model}")["spec"]).imported:
        return import_command(store, corpus, model, files_wanted(splits, arrays))
    return command_again(store, corpus, model, arrays, ["--splits", ",".join(splits)])


def import_command(
    store: Store,
    corpus: str,
    model: str,
    paths: Mapping[str, Iterable[str]],
    more: Iterable[str] = (),
) -> list[Words]:
    """`lef import ...` of some paths for each pooling: what `command_again` is for imports."""
    data, made = described(store, corpus), described(store, f"{corpus}/{model}")
    words = ["--cache", str(store.root)] * (str(store.root) != DEFAULT_CACHE)
    words += ["--data", data.get("source") or corpus, *corpus_flags(data), *more]
    if note := Spec.from_json(made["spec"]).note:
        words += _flag("note", note)
    return [
        ["lef", "import", model, *files, "--pool", pool, *words] for pool, files in paths.items()
    ]


def import_again(store: Store, path: str, arrays: Iterable[str]) -> list[Words]:
    """The commands that read imported arrays of a split such as `sst2/openai/train` once more."""
    corpus, model, split = path.split("/")
    attrs, made = described(store, path), described(store, f"{corpus}/{model}")
    paths: dict[str, dict[str, None]] = {}  # of each pooling, as they were given
    for name in arrays:
        paths.setdefault(name.partition("/")[0], {})[attrs["files"][name]["given"]] = None
    more = ["--split", split, "--depth", str(made["depth"]), "--store-dtype", attrs["store_dtype"]]
    return import_command(store, corpus, model, paths, more)


def files_wanted(splits: Iterable[str], arrays: Iterable[str]) -> dict[str, list[str]]:
    """Of each pooling, names for the files of these arrays that tell `lef import` what they are."""
    return {
        pool: [f"{split}.npy" for split in splits]
        if layers == ["last"]
        else [f"{split}/layer-{layer}.npy" for split in splits for layer in layers]
        for pool, layers in (by_pool(arrays) or {"own": ["last"]}).items()
    }


def spec_flags(spec: Spec) -> list[str]:
    """The flags that give this Spec again on its own cache, where `auto` is what it was."""
    words = []
    for each in fields(spec):
        value = getattr(spec, each.name)
        if each.metadata and each.name not in SETTLED and value != each.default:
            words += _flag(each.name, str(value))
    return words


def _flag(name: str, value: str) -> list[str]:
    """A flag with its value, which is not to be taken for the next flag."""
    flag = f"--{name.replace('_', '-')}"
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def model_flags(spec: Spec, provenance: Mapping[str, Any], flags: Iterable[str] = ()) -> list[str]:
    """The flags that load this very model again; `flags` are those that no Spec can tell."""
    words = [*spec_flags(spec), *flags]
    if revision := provenance.get("revision"):
        words += ["--revision", str(revision)]
    return words + ["--trust-remote-code"] * bool(provenance.get("remote_code"))


def corpus_flags(attrs: Mapping[str, Any]) -> list[str]:
    """The flags that read this corpus again, beside its source."""
    options = attrs.get("options", {})
    return [word for flag, value in options.items() for word in _flag(flag, value)]


def split_flags(here: Mapping[str, int], whole: Mapping[str, int]) -> list[list[str]]:
    """The flags that ask for just these rows of each split, once for each command it takes.

    `--limit` is one number for all splits of a command: that is enough unless some were limited
    differently.
    """
    most = max(here.values())
    one = all(rows == min(most, whole[split]) for split, rows in here.items())
    commands = [(list(here), most)] if one else [([split], rows) for split, rows in here.items()]
    return [
        ["--splits", ",".join(splits)]
        + ["--limit", str(limit)] * any(limit < whole[split] for split in splits)
        for splits, limit in commands
    ]


def by_pool(arrays: Iterable[str]) -> dict[str, list[Layer]]:
    """The layers of each pooling, in order, of arrays such as `mean/24`."""
    layers: dict[str, list[Layer]] = {}
    for pool, slash, layer in (name.partition("/") for name in arrays):
        if slash:
            layers.setdefault(pool, []).append(layer if layer == "last" else int(layer))
    return {pool: _in_order(each) for pool, each in layers.items()}


def products(
    arrays: Iterable[str], known: Iterable[str] = ()
) -> list[tuple[list[Layer], list[str]]]:
    """The (layers, pools) of the commands that give these arrays, and none but the known beside.

    A command asks for every pooling of every layer in it: `mean/24` and `max/8` take two. But
    `own`, a model's own pooling, is one of `last` alone.
    """
    names = list(arrays)
    pools = by_pool(names)
    every = _in_order(layer for layers in pools.values() for layer in layers)
    asked = {
        f"{pool}/{layer}" for pool in pools for layer in every if pool != "own" or layer == "last"
    }
    if asked <= {*names, *known}:
        return [(every, list(pools))]
    alike: dict[tuple[Layer, ...], list[str]] = {}
    for pool, layers in pools.items():
        alike.setdefault(tuple(layers), []).append(pool)
    return [(list(layers), each) for layers, each in alike.items()]


def _in_order(layers: Iterable[Layer]) -> list[Layer]:
    """Each layer once, numbers first."""
    once = set(layers)
    numbers = sorted(layer for layer in once if isinstance(layer, int))
    return [*numbers, *(["last"] if "last" in once else [])]
