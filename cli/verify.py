"""`lef verify`: is every byte of the cache what was written, and make again what is not."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from cli.candidates import keys
from cli.output import cache_words, print_json, say, tell
from cli.params import cache_option, json_option
from lefcache.errors import FeatureError, LefError, ModelError, StorageError
from lefcache.wording import command_line, count

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.damage import Damage, Report
    from lefcache.stores import Home

FOUND = 3
TRUST = "--trust-remote-code"
SHOWN = 40  # lines of one kind


@click.command("verify")
@click.argument("key", required=False, default="", shell_complete=keys)
@click.option("--repair", is_flag=True, help="Extract damaged and missing blocks again.")
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="With --repair: run code that comes with a model, where the extraction did.",
)
@cache_option
@json_option
def command(key: str, repair: bool, trust_remote_code: bool, cache: str, as_json: bool) -> None:
    """Read the whole cache, a corpus (sst2), a model (sst2/mistral) or a split, and compare it.

    Vectors, tokens and ledgers, labels, text hashes and metadata are held against their checksums.
    --repair takes damaged blocks out of the ledger and runs the extraction that computes just them
    again. The exit code is 3 if anything was found that is not repaired.

    \b
    Examples:
      lef verify
      lef verify sst2/mistral --repair
      lef verify sst2/mistral/train --json
    """
    import lefcache
    from lefcache.verify import verify

    opened = _open(cache, repair)
    if not opened.exists:
        raise FeatureError(f"there is no cache {opened.path}: check what --cache says")
    report = verify(opened, key, lambda path, blocks: say(f"{path}: {count(blocks, 'block')}"))
    repaired: list[Damage] = []
    if repair and not report.whole:
        with redirect_stdout(sys.stderr):
            _repair(opened, report, trust_remote_code)
        after = verify(lefcache.open(cache), key)
        left = [*after.damaged, *after.missing]
        repaired = [each for each in [*report.damaged, *report.missing] if each not in left]
        report = after
    if as_json:
        print_json(report.to_json() | {"repaired": [each.to_json() for each in repaired]})
    else:
        again = command_line(["lef", "verify", *filter(None, [key]), "--repair"])
        _show(report, repaired, "" if repair else f"{again}{cache_words(cache)}")
    if not report.whole:
        sys.exit(FOUND)


def _open(cache: str, repair: bool) -> "Cache":
    """Open a cache whose own metadata may be damaged, or gone: all below it can be checked."""
    import lefcache
    from lefcache.cache.opening import store_at

    store = store_at(cache)
    damaged = _damaged(store) and not (repair and store.mend(""))
    if damaged and repair:
        say(
            f"damaged: the metadata of {cache} itself, and not by one bit: delete "
            f"{store.root / 'zarr.json'} and run this again, which writes it anew and mends "
            "all the rest"
        )
        sys.exit(FOUND)
    return lefcache.open(cache, whole=not damaged)


def _damaged(store: "Home") -> bool:
    """Whether a cache's own metadata is there, and not what was written."""
    try:
        seal = store.seal("")
        if seal.astray:
            return False  # it is whole, and what it is instead is said when it is opened
        store.attrs("")
        return seal.holds is False
    except LefError:
        return _unreadable(store)


def _unreadable(store: "Home") -> bool:
    try:
        store.attrs("")
    except LefError:
        return True
    return False  # it is gone


def _repair(cache: "Cache", report: "Report", trusted: bool) -> None:
    """Clear what is damaged, then run what computes it; what cannot be run is said."""
    from lefcache.cache.register import restore
    from lefcache.repair import clear

    commands = clear(cache, report)
    for corpus, damaged in _labels(report).items():
        try:
            for path in restore(cache.store, _corpus(cache, corpus), damaged):
                say(f"{path}: read again from the data")
        except LefError as error:
            say(f"Error: {error}")
    for words in commands:
        say(f"Running: {command_line(words)}")
        try:
            _run(words, trusted)
        except (LefError, click.ClickException) as error:
            say(f"Error: {error}")
            say(f"The damaged blocks are cleared. To compute them, run: {command_line(words)}")


def _labels(report: "Report") -> dict[str, set[str]]:
    """The arrays of labels and text hashes of each corpus that are damaged."""
    found: dict[str, set[str]] = {}
    for path in (each.path for each in report.damaged):
        if path.split("/")[1:2] in (["labels"], ["rows"]) and path.count("/") == 2:
            found.setdefault(path.split("/")[0], set()).add(path)
    return found


def _corpus(cache: "Cache", name: str) -> Any:
    from cli.reading import open_corpus

    nothing = dict.fromkeys(("text_column", "label_column", "template", "config", "data_revision"))
    return open_corpus({"cache": str(cache.path), "data": name, **nothing})[0]


def _run(words: Sequence[str], trusted: bool) -> None:
    """Run `lef extract ...` or `lef import ...` in this process.

    The words are the cache's, which may be a stranger's: code that comes with a model is allowed
    by who types the command, and never by a cache.
    """
    from cli.main import main

    if TRUST in words and not trusted:
        raise ModelError(
            "the model was run with code that comes with it: if you trust its authors, allow that "
            f"with lef verify --repair {TRUST}"
        )
    if words[1] == "pull":
        raise StorageError("what was pulled comes from a place that the cache names")
    made = main.get_command(click.Context(main), words[1])
    assert made is not None
    made.main([*words[2:]], standalone_mode=False)


def _show(report: "Report", repaired: Sequence["Damage"], repair: str) -> None:
    """What was found, and `repair`, the command that mends it, unless it has just been tried."""
    kinds = {
        "damaged": [each.message for each in report.damaged],
        "missing": [each.message for each in report.missing],
        "repaired": [each.mended for each in repaired],
        "left behind by a process that was killed": report.strays,
        "without a checksum of their own, from an older lefcache": report.unsealed,
        "with metadata from an older lefcache that does not say where it belongs, so that nothing "
        "tells whether it was swapped": report.unplaced,
    }
    for kind, lines in kinds.items():
        if lines:
            tell(f"{kind}:")
            for line in lines[:SHOWN]:
                tell(f"  {line}")
            if len(lines) > SHOWN:
                tell(f"  and {len(lines) - SHOWN:,} more (--json lists them all)")
    found = [*report.damaged, *report.missing]
    tell(
        f"{count(report.checked_blocks, 'block')} checked, "
        + ("all whole" if not found else count(len(found), "thing") + " found")
    )
    for_repair = sum(each.by_repair for each in found)
    if for_repair and repair:
        what = "it" if for_repair == len(found) else f"{for_repair:,} of them"
        tell(f"Mend {what} with: {repair}")
