"""`lef extract`: run a frozen model once and keep every layer."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from cli.candidates import models as known_models
from cli.candidates import pools, splits
from cli.engine import check_engine, cluster_of, engine_options, rates, speaker
from cli.extracted import announce, report
from cli.output import interrupted, print_json, progress, say, size
from cli.params import (
    cache_option,
    data_option,
    device_option,
    given,
    json_option,
    settings_options,
)
from cli.reading import open_corpus
from lefcache.columns import Reading
from lefcache.errors import StorageError
from lefcache.files import lies_there, path_of
from lefcache.spec import FORMATS, STORED, Spec
from lefcache.wording import command_line

if TYPE_CHECKING:
    from lefcache import Cache, Corpus
    from lefcache.cluster import Cluster
    from lefcache.extract import Backbone, Engine


class Model(click.types.StringParamType):
    """A model; who leaves it out is told which ones there are."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Where the names are, and one that needs no download."""
        return "For example: --model minilm, which needs no download; `lef models` lists the others"


@click.command("extract")
@click.option(
    "--model",
    "models",
    type=Model(),
    required=True,
    multiple=True,
    shell_complete=known_models,
    help="A short name (mistral, minilm, ...), hub id or folder, or NAME= and one of these; "
    "may be repeated.",
)
@data_option
@click.option("--all-layers", is_flag=True, help="Every layer (the default).")
@click.option("--layers", default=None, help="Only these, for example 16..32,last or -4..-1.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    shell_complete=pools,
    help="mean, mean_nobos, last, first, max, or own where a model has one; may be repeated: all "
    "from one pass.  [default: mean, and the pooling of the model's authors if it is another]",
)
@click.option(
    "--splits", default=None, shell_complete=splits, help="Only these, for example train,test."
)
@click.option("--limit", type=click.IntRange(1), help="Only the first N rows of each split.")
@settings_options(Reading)
@settings_options(Spec)
@click.option(
    "--store-dtype",
    type=click.Choice(["auto", *STORED]),
    default="auto",
    show_default=True,
    help="Numbers on disk; auto: float16, but float32 for a layer with large values. bfloat16 has "
    "float32's range and float16's size, at an eighth of its precision.",
)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="Of the files: zarr, a folder for each split, or hdf5, one file.  "
    "[default: as a split is, or zarr]",
)
@click.option(
    "--fsync/--no-fsync",
    default=True,
    help="Put each block on the disk before it counts as done (the default), or leave that to the "
    "system: a power cut may then cost finished blocks.",
)
@click.option("--revision", help="Branch, tag or commit of a model on the hub.")
@click.option("--as", "name", help="Keep the model under this name in the cache.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model.")
@click.option(
    "--device-map",
    type=click.Choice(["none", "auto"]),
    default="none",
    show_default=True,
    help="auto: spread a model over all GPUs, then the memory, then the disk.",
)
@click.option(
    "--offload-folder",
    type=click.Path(file_okay=False),
    help="Where --device-map auto puts what fits nowhere else.  [default: a temporary folder]",
)
@click.option("--block-rows", type=click.IntRange(1), help="Rows in a block, a power of two.")
@click.option("--batch-tokens", type=click.IntRange(1), help="Padded tokens in a batch.")
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@engine_options
@cache_option
@device_option
@json_option
def command(models: tuple[str, ...], name: str | None, **options: Any) -> None:
    """Run each model once over the texts and write every layer's pooled states to the cache.

    Interrupt it at any time (Ctrl-C or SIGTERM; twice, and it ends at once): the same command goes
    on where it was, to the same bytes.

    \b
    Examples:
      lef extract --model mistral --all-layers
      lef extract --data my-texts --model minilm --pool mean --pool first
      lef extract --data sst2 --model minilm
      lef extract --data nyu-mll/glue --config mrpc --model minilm \\
        --template '{sentence1} [SEP] {sentence2}'
      lef extract --model llama3 --device-map auto
      lef extract --data r8=corpora/reuters --model mine=./checkpoint --layers 4..8,last
    """
    if name and len(models) > 1:
        raise click.UsageError("--as names one model; write NAME=SOURCE for each of several")
    if options["device"] != "auto" and options["device_map"] != "none":
        raise click.UsageError("--device and --device-map exclude each other")
    if options["offload_folder"] and options["device_map"] == "none":
        raise click.UsageError("--offload-folder goes with --device-map auto")
    if options["all_layers"] and options["layers"]:
        raise click.UsageError("--all-layers and --layers exclude each other")
    _check_repeated("--model", models)
    _check_repeated("--pool", options["pools"])
    _check_spelling(options)
    check_engine(options)
    _check_writers(options)
    try:
        corpus, cache = open_corpus(options, speaker())
        with cluster_of(options) as cluster:
            documents = [_extract(each, name, corpus, cache, options, cluster) for each in models]
    except KeyboardInterrupt as error:
        kept = "" if options["dry_run"] else ". Every finished block is safe in the cache"
        where = ", in each rank" if "RANK" in os.environ else ""
        interrupted(error, f"{kept}. Go on with{where}:\n  ", speaker())
    if options["as_json"] and all(documents):
        print_json(documents[0] if len(documents) == 1 else documents)


def _check_repeated(flag: str, values: Sequence[str]) -> None:
    """Refuse `--pool mean,first`; a folder may have a comma in its name."""
    for value in values:
        folders = (value, value.partition("=")[2])
        if "," in value and not any(each and lies_there(path_of(each)) for each in folders):
            several = [item.strip() for item in value.split(",") if item.strip()]
            again = command_line(word for item in several for word in (flag, item))
            raise click.UsageError(f"{flag} takes one value; repeat it for several: {again}")


def _check_spelling(options: dict[str, Any]) -> None:
    """Refuse what no model and no corpus has, before a model is loaded for minutes."""
    from lefcache.corpus import split_name
    from lefcache.feature import check_layers, parse_pool

    if options["layers"]:
        check_layers(options["layers"])
    for pool in options["pools"]:
        parse_pool(pool)
    for split in options["splits"].split(",") if options["splits"] else ():
        split_name(split.strip())


def _check_writers(options: dict[str, Any]) -> None:
    """Refuse an HDF5 file to several writers, before each of them loads a model."""
    from lefcache.cache.lock import many_processes

    many = "--engine ray has several workers" if options["engine"] == "ray" else many_processes()
    if options["format"] == "hdf5" and many:
        raise click.UsageError(
            f"{many}, and an HDF5 file can have one writer only: extract with --format zarr, and "
            "have one file afterwards with: lef convert KEY --to hdf5"
        )


def _loader(
    model: str, name: str | None, corpus: "Corpus", cache: "Cache", options: dict[str, Any]
) -> "Callable[[], Backbone]":
    """What loads the model with the settings of its cache, as deep as it will be read."""
    from lefcache.extract import layers_to_load, load_backbone, resolve_model

    settings, called = given(Spec, options), resolve_model(model, name).name
    if known := cache.spec(called, corpus.name):
        # On a cache, what is left open is what the cache was made with.
        made = {"dtype": known.dtype, "attention": known.attention}
        left_open = {key for key in made if settings.get(key, "auto") == "auto"}
        if settings.get("chat_template") == "own":  # it may hold the date of that day
            made["chat_template"] = known.chat_template
            left_open.add("chat_template")
        settings |= {key: made[key] for key in left_open if made[key]}
    if lies_there(path_of(model)):
        model = str(path_of(model).resolve())  # for workers, which are in other folders
    several = (options["gpus_per_worker"] or 1) > 1
    return partial(
        load_backbone,
        model,
        name=name,
        device=options["device"],
        revision=options["revision"],
        trust_remote_code=options["trust_remote_code"],
        device_map="auto" if several else options["device_map"],
        offload_folder=options["offload_folder"],
        layers=layers_to_load(options["layers"] or "all", cache, called, corpus.name),
        **settings,
    )


def _engine(load: "Callable[[], Backbone]", cluster: "Cluster | None") -> "tuple[Engine, Backbone]":
    """Who computes, and the model: loaded here, or described by a worker that has loaded it."""
    from lefcache.extract import Spread, engine_here

    if cluster is None:
        return engine_here(), load()
    spread = Spread(cluster, load)
    return spread, spread.backbone()


def _extract(
    model: str,
    name: str | None,
    corpus: "Corpus",
    cache: "Cache",
    options: dict[str, Any],
    cluster: "Cluster | None",
) -> dict[str, Any]:
    from lefcache.extract import estimate, extract, place_order
    from lefcache.registry import training_notes

    started = time.perf_counter()
    engine, backbone = _engine(_loader(model, name, corpus, cache, options), cluster)
    load_seconds = time.perf_counter() - started
    order = place_order(
        backbone,
        corpus,
        splits=options["splits"].split(",") if options["splits"] else None,
        layers=options["layers"] or "all",
        pools=options["pools"] or None,
        limit=options["limit"],
        store_dtype=options["store_dtype"],
        block_rows=options["block_rows"],
        batch_tokens=options["batch_tokens"],
        format=options["format"],
        fsync=options["fsync"],
    )
    if not engine.leads:  # one of many, of which the first one speaks
        if not options["dry_run"]:
            extract(backbone, corpus, cache, order=order, engine=engine)
        return {}
    expected = estimate(backbone, corpus, cache, order, timed=cluster is None)
    notes = [*backbone.notes, *training_notes(backbone.source, (corpus.name, corpus.source))]
    announce(backbone, notes, expected, load_seconds)
    if expected.free_bytes is not None and expected.bytes > expected.free_bytes:
        raise StorageError(
            f"this would take {size(expected.bytes)} and {size(expected.free_bytes)} are free: "
            "free some space, ask for fewer --layers, or choose another disk with --cache"
        )
    if options["dry_run"]:
        return expected.to_json()
    with progress(f"{corpus.name}/{backbone.name}", expected.rows) as advance:
        receipt = extract(
            backbone,
            corpus,
            cache,
            order=order,
            load_seconds=load_seconds,
            on_progress=lambda done: advance(
                done.split, done.rows, done.tokens, rates(done.workers)
            ),
            on_note=lambda line: say(f"  note: {line}"),
            engine=engine,
        )
    report(receipt, len(notes), cache, options)
    return receipt.to_json()
