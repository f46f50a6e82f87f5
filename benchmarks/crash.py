"""What `kill -9` leaves behind: real extractions, killed at random moments and gone on with.

    python benchmarks/crash.py                   # 200 kills for Zarr, 50 for HDF5
    python benchmarks/crash.py --kills 5 --format hdf5 --seed 3 --json
    python benchmarks/crash.py --store s3        # 50 kills, against moto's server on loopback

Every run is the command `lef` in a process of its own: rows, more rows, another pooling, and then
`lef convert` to the other format and back. A moment drawn at random after the first thing that it
writes, the process is killed, and the same command is given again, until it is done. After each
kill every block that the ledger vouches for must be that of a run which nobody interrupted, and the
next run must leave it alone; after each command that is done, the whole cache must be the same.
An object store holds only Zarr, so there nothing is converted.
"""

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crash_runs import (
    KEY,
    Contents,
    Place,
    Runner,
    Unit,
    contents,
    files,
    forget,
    object_store,
    vouched,
    write_corpus,
)

ROWS = {"train": 42, "test": 9}
KILLS = {"zarr": 200, "hdf5": 50, "s3": 50}
OTHER = {"zarr": "hdf5", "hdf5": "zarr"}
FSYNC_ROWS = 2000


@dataclass(frozen=True)
class Step:
    """A command, and how long it takes after it began to write."""

    name: str
    words: tuple[str, ...]
    contents: Contents = field(default_factory=dict)  # of the cache, once it was done
    files: dict[str, bytes] = field(default_factory=dict)
    sums: dict[Unit, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Tally:
    """What the kills of one step did."""

    kills: int = 0
    resumed: int = 0  # of them, in a run that went on with an earlier one
    begun: int = 0  # blocks that were given to the model
    lost: int = 0  # the most that one kill cost: one is computed while the last is being written
    twice: int = 0  # that were whole already
    damaged: int = 0  # blocks that a ledger vouches for wrongly
    differing: int = 0  # arrays or files of a finished cache, unlike the uninterrupted one's
    strays: int = 0  # files of a finished cache that should not be there


def steps(format: str, corpus: Path) -> list[Step]:
    """The commands of one life, in order."""
    layers = ["--layers", "0..2,last", "--block-rows", "4", "--batch-tokens", "64"]
    extract = ["extract", "--model", "tinylm", "--data", str(corpus), *layers]
    extract += ["--format", format] if format in OTHER else []
    pools = ["--pool", "mean", "--pool", "last"]
    convert = ["convert", KEY, "--to"]
    extractions = [
        Step("first rows", (*extract, *pools, "--limit", "18")),
        Step("more rows", (*extract, *pools)),
        Step("another pooling", (*extract, "--pool", "max")),
    ]
    if format not in OTHER:
        return extractions
    return [
        *extractions,
        Step(f"convert to {OTHER[format]}", (*convert, OTHER[format])),
        Step(f"back to {format}", (*convert, format)),
    ]


def uninterrupted(runner: Runner, format: str, corpus: Path, cache: Place) -> Iterator[Step]:
    """The commands, each with what it leaves if nobody kills it, and how long it takes."""
    for step in steps(format, corpus):
        seconds = runner.run(step.words, cache)
        assert seconds is not None, "nobody killed it"
        runner.begun()
        sums = {unit: crc for unit, crc, _ in vouched(cache)}
        yield Step(step.name, step.words, contents(cache), files(cache), sums, seconds)


def in_turn(known: list[Step], more: Iterator[Step]) -> Iterator[Step]:
    """The steps that are known, and then those that become so, which are kept."""
    yield from tuple(known)
    for step in more:
        known.append(step)
        yield step


def live(
    runner: Runner,
    known: Iterator[Step],
    cache: Place,
    draw: random.Random,
    tallies: dict[str, Tally],
    enough: Callable[[], bool],
    in_a_row: int,
) -> None:
    """One cache through all commands, each killed and given again until it is done."""
    whole: dict[Unit, int] = {}
    for step in known:
        whole |= step.sums
        tally, deaths, done = tallies[step.name], 0, False
        while not done:
            before = {unit for unit, *_ in vouched(cache)}
            delay = None if enough() or deaths == in_a_row else draw.uniform(0, step.seconds)
            done = runner.run(step.words, cache, delay) is not None
            judge(runner.begun(), before, cache, whole, tally)
            tally.kills += not done
            tally.resumed += bool(deaths) and not done
            deaths += not done
        compare(step, cache, tally)
        if enough():
            break


def judge(
    begun: Sequence[set[Unit]],
    before: set[Unit],
    cache: Place,
    whole: dict[Unit, int],
    tally: Tally,
) -> None:
    """What a run did to the blocks that were there, and what it left."""
    import google_crc32c

    after = set()
    for unit, crc, content in vouched(cache):
        after.add(unit)
        tally.damaged += not crc == google_crc32c.value(content) == whole[unit]
    own = {unit for unit in before if unit[1] != "tokens"}  # which all poolings share
    tally.begun += len(begun)
    tally.twice += sum(not units.isdisjoint(own) for units in begun)
    tally.lost = max(tally.lost, sum(not units <= after for units in begun))


def compare(step: Step, cache: Place, tally: Tally) -> None:
    """What a finished cache has that an uninterrupted one has not."""
    found, there = contents(cache), files(cache)
    strays = sorted(there.keys() - step.files.keys())
    differing = sorted(there.keys() ^ step.files.keys() ^ set(strays))
    nodes = found.keys() | step.contents.keys()
    differing += sorted(path for path in nodes if found.get(path) != step.contents.get(path))
    if "convert" not in step.words:  # HDF5 forgets the order of attributes
        both = there.keys() & step.files.keys()
        plain = [name for name in both if not name.endswith(".h5")]
        differing += sorted(name for name in plain if there[name] != step.files[name])
    tally.strays += len(strays)
    tally.differing += len(differing)
    if strays or differing:
        say(f"after {step.name}: strays {strays[:3]}; differing {differing[:3]}")


def crash(
    runner: Runner, place: Place, format: str, kills: int, in_a_row: int, seed: int
) -> dict[str, Tally]:
    """As many lives as it takes to be killed so often; a tally for each command."""
    corpus, draw = write_corpus(runner.folder / "texts", ROWS), random.Random(seed)  # noqa: S311
    known: list[Step] = []
    more = uninterrupted(runner, format, corpus, place / "uninterrupted")
    tallies = {step.name: Tally() for step in steps(format, corpus)}

    def enough() -> bool:
        return sum(tally.kills for tally in tallies.values()) >= kills

    while not enough():
        life = in_turn(known, more)
        live(runner, life, place / "cache", draw, tallies, enough, in_a_row)
        forget(place / "cache")
        say(f"{format}: {sum(tally.kills for tally in tallies.values())} of {kills} kills")
    return tallies


def cost_of_fsync(runner: Runner, format: str, rounds: int) -> dict[str, float]:
    """Seconds of an extraction whose blocks are put on the disk, over one that leaves it to it."""
    corpus, ratios = write_corpus(runner.folder / "many", {"train": FSYNC_ROWS}), []
    words = ["extract", "--model", "tinylm", "--data", str(corpus), "--format", format, "--json"]
    for number in range(rounds):
        seconds = {}
        for flag in ("--fsync", "--no-fsync") if number % 2 else ("--no-fsync", "--fsync"):
            runner.run([*words, flag], runner.folder / "cache")
            out = (runner.folder / "out.txt").read_text().splitlines()
            [receipt] = [json.loads(line) for line in out if line.startswith("{")]
            seconds[flag] = receipt["seconds"]
            shutil.rmtree(runner.folder / "cache")
        ratios.append(seconds["--fsync"] / seconds["--no-fsync"])
    runner.begun()
    return {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def say(line: str) -> None:
    """A line for the person watching."""
    print(line, file=sys.stderr)


def report(found: dict[str, Any]) -> None:
    """A table for a person, in Markdown."""
    names = list(asdict(Tally()))
    print(f"| format | command | {' | '.join(names)} |\n|---|---|{'--:|' * len(names)}")
    for format, each in found.items():
        sums = {name: [tally[name] for tally in each["steps"].values()] for name in names}
        total = {name: max(all) if name == "lost" else sum(all) for name, all in sums.items()}
        for step, tally in [*each["steps"].items(), ("**all**", total)]:
            print(f"| {format} | {step} | {' | '.join(str(tally[name]) for name in names)} |")
    for format, each in found.items():
        if ratio := each.get("fsync"):
            spread = f"{ratio['lowest']:.2f}..{ratio['highest']:.2f}"
            print(f"\nfsync / --no-fsync, {format}: {ratio['median']:.2f} ({spread}) in seconds")


def main() -> None:
    """Parse, kill, print; `--json` for the document alone."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--format", choices=list(OTHER), help="only this one")
    parser.add_argument("--store", choices=["s3"], help="on an object store, and not on this disk")
    parser.add_argument(
        "--kills", type=int, nargs="+", help="of each format in turn; 200 for Zarr, else 50"
    )
    parser.add_argument("--in-a-row", type=int, default=5, help="the most that one command meets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fsync-rounds", type=int, default=0, help="measure what fsync costs, too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    formats = [one] if (one := options.store or options.format) else [*OTHER]
    numbers = options.kills or [KILLS[format] for format in formats]
    if len(numbers) != len(formats):
        parser.error(f"--kills: give {len(formats)} numbers, for {' and '.join(formats)}")
    for format, kills in zip(formats, numbers, strict=True):
        with tempfile.TemporaryDirectory() as folder, ExitStack() as held:
            place = held.enter_context(object_store()) if options.store else Path(folder)
            runner = Runner(Path(folder))
            tallies = crash(runner, place, format, kills, options.in_a_row, options.seed)
            found[format] = {"steps": {name: asdict(each) for name, each in tallies.items()}}
            if options.fsync_rounds and not options.store:
                found[format]["fsync"] = cost_of_fsync(runner, format, options.fsync_rounds)
    if options.json:
        print(json.dumps(found))
    else:
        report(found)


if __name__ == "__main__":
    main()
