"""What an extraction is about to do, and what it did, in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cli.engine import rates
from cli.following import next_sweep
from cli.output import duration, say, size, tell
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.extract import Backbone, Estimate, Receipt


def announce(
    backbone: "Backbone", notes: Sequence[str], expected: "Estimate", load_seconds: float
) -> None:
    """Which model it is, what to know of it, and what it will take."""
    say(
        f"{backbone.name}: {count(backbone.depth, 'block')}, width {backbone.width}, "
        f"loaded in {duration(load_seconds)} on {backbone.provenance['device']}"
    )
    for line in notes:
        say(f"  note: {line}")
    if expected.rows == 0:
        say(f"  all {expected.rows_in_all:,} rows are in the cache already")
        return
    room = expected.free_bytes
    free = "" if room is None else f"; {size(room)} free on that disk"
    tokens, seconds = count(expected.tokens, "token"), duration(expected.seconds)
    about = f", about {tokens}, about {seconds}" if expected.seconds else ""
    there = max(0, expected.rows_in_all - expected.rows)
    say(
        f"  to compute: {count(expected.rows, 'row')}"
        + (f" ({there:,} are in the cache already)" if there else "")
        + about
    )
    say(
        f"  to write: {count(expected.arrays, 'array')} of {size(expected.bytes_per_array)}, "
        f"{size(expected.bytes)} in all{free}"
    )


def report(receipt: "Receipt", known: int, cache: "Cache", options: dict[str, Any]) -> None:
    """What came of it, where it lies, and what to do next; `known` notes were said before."""
    # With --json, stdout belongs to the document.
    write = say if options["as_json"] else tell
    for line in receipt.notes[known:]:
        write(f"  note: {line}")
    rate = receipt.rows / receipt.seconds if receipt.computed_blocks else 0.0
    write(
        f"  done: {count(receipt.rows, 'row')}, {count(receipt.tokens, 'token')}, "
        f"{count(receipt.truncated, 'text')} cut; "
        f"{count(receipt.computed_blocks, 'block')} computed, {receipt.skipped_blocks} there "
        f"before; "
        f"{duration(receipt.seconds)}"
        + (f", {rate:,.0f} rows/s" if not receipt.skipped_blocks and rate else "")
    )
    if receipt.workers:
        write(f"  {rates(receipt.workers)}")
    write(f"  {size(receipt.bytes)} in {receipt.path}")
    write(next_sweep(cache, options["cache"], receipt.corpus, receipt.model))
