"""`lef import`: put vectors that were made elsewhere beside those of the models run here."""

from typing import TYPE_CHECKING, Any

import click

from cli.candidates import pools, splits
from cli.following import next_sweep
from cli.output import duration, interrupted, print_json, progress, say, size, tell
from cli.params import cache_option, data_option, json_option, settings_options
from cli.reading import open_corpus
from lefcache.columns import Reading
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache import Cache, Corpus
    from lefcache.vectors import Imported


@click.command("import")
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@data_option
@click.option(
    "--split",
    shell_complete=splits,
    help="The split of files that do not say it; of a folder that does, only this one.",
)
@click.option(
    "--pool",
    shell_complete=pools,
    help="How the vectors were pooled: mean, mean_nobos, last, first, max or own.  "
    "[default: own for one matrix of a split, mean for layers]",
)
@click.option(
    "--depth",
    type=click.IntRange(0),
    help="Blocks of the model, which NAME:-1 counts from.  [default: the deepest layer given]",
)
@click.option(
    "--note",
    help="What made them, such as 'text-embedding-3-large, 2026-11'. Kept as their identity: "
    "later imports under this NAME need the same note, or none.",
)
@settings_options(Reading)
@click.option(
    "--store-dtype",
    type=click.Choice(["auto", "float16", "float32"]),
    default="auto",
    show_default=True,
    help="Numbers on disk; auto: as they come, but float32 for float64.",
)
@cache_option
@json_option
def command(name: str, paths: tuple[str, ...], **options: Any) -> None:
    """Put vectors made elsewhere (an API, vLLM, your own code) into the cache as model NAME.

    Row i of a matrix must be the vector of text i, in the order of the data's file. A PATH is a
    .npy file, or a folder of them: train.npy, validation.npy and test.npy are one matrix of a
    split each, and become the feature NAME:last; layer-0.npy, layer-12.npy and layer-last.npy are
    layers, beside each other with --split, or in folders train, validation and test.

    \b
    Examples:
      lef import openai train.npy test.npy --data my-texts --note text-embedding-3-large
      lef import openai vectors.npy --split train --data my-texts
      lef import mine states/ --data my-texts --pool last
    """
    from lefcache.vectors import find_vectors, import_vectors

    if name.endswith(".npy"):
        words = ["lef", "import", "NAME", name, *paths]
        raise click.UsageError(f"the model's NAME comes first: {command_line(words)}")
    chosen = {key: options[key] for key in ("split", "pool")}
    try:
        corpus, cache = open_corpus(options)
        found = find_vectors(paths, corpus, **chosen)
        rows = sum({each.split: len(each) for each in found}.values())
        bytes = sum(each.rows.nbytes for each in found)
        matrices = count(len(found), "matrix", "matrices")
        say(f"  to read: {matrices}, {size(bytes)}, of {count(rows, 'row')}")
        with progress(f"{corpus.name}/{name}", rows) as advance:
            receipt = import_vectors(
                name,
                paths,
                corpus,
                cache,
                **chosen,
                depth=options["depth"],
                note=options["note"],
                store_dtype=options["store_dtype"],
                on_progress=lambda block: advance(block.split, block.rows, 0),
            )
    except KeyboardInterrupt as error:
        interrupted(error, ". Every finished block is safe in the cache. Go on with:\n  ")
    _report(receipt, cache, corpus, options)


def _report(receipt: "Imported", cache: "Cache", corpus: "Corpus", options: dict[str, Any]) -> None:
    write = say if options["as_json"] else tell
    for line in receipt.notes:
        write(f"  note: {line}")
    there = "  all of it was in the cache already, with the same bytes"
    write(
        f"  done: {count(receipt.rows, 'row')}, width {receipt.width:,}, {receipt.dtype}; "
        f"{count(receipt.written_blocks, 'block')} written, {receipt.skipped_blocks} there before; "
        f"{duration(receipt.seconds)}"
        if receipt.written_blocks
        else there
    )
    write(f"  {size(receipt.bytes)} in {receipt.path}")
    lacking = [each for each in corpus.splits if each not in cache[receipt.corpus][receipt.model]]
    if lacking:
        write(f"  not there yet: the vectors of {' and '.join(lacking)}")
    write(next_sweep(cache, options["cache"], receipt.corpus, receipt.model, with_torch=False))
    if options["as_json"]:
        print_json(receipt.to_json())
