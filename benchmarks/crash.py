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
import http.client
import json
import logging
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lefcache.files import Url

if TYPE_CHECKING:
    from lefcache.stores import Home
    from lefcache.stores.objects import Bucket

WORDS = ["a", "cat", "sat", "on", "the", "mat", "film", "was", "not", "good", "but", "very", "bad"]
ROWS = {"train": 42, "test": 9}
KILLS = {"zarr": 200, "hdf5": 50, "s3": 50}
OTHER = {"zarr": "hdf5", "hdf5": "zarr"}
KEY = "texts/tinylm"
FSYNC_ROWS = 2000
AWS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "a secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}
PRELOADED = [  # what a run would else spend most of its time on
    "zarr.storage",
    "h5py",
    "transformers.models.llama.modeling_llama",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "lefcache.extract.huggingface",
    "lefcache.study",
    "cli.extract",
    "cli.convert",
    "lefcache.stores.remote_store",
]

Unit = tuple[str, str, int, int]  # split, array, block, and how many rows of it
Contents = dict[str, Any]
Place = Path | Url  # of a cache


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


def write_corpus(folder: Path, rows: dict[str, int]) -> Path:
    """A folder of random texts."""
    draw = random.Random(7)  # noqa: S311
    folder.mkdir()
    for split, count in rows.items():
        lines = ["text\tlabel"]
        for row in range(count):
            text = " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 12)))
            lines.append(f"{row} {text}\t{draw.choice(['yes', 'no'])}")
        (folder / f"{split}.tsv").write_text("\n".join([*lines, ""]))
    return folder


# A command in a process


class Runner:
    """Starts `lef` in processes that are forks of one with everything imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(PRELOADED)
        # A thread of the first process would be none in its forks, and they would wait for it.
        os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def run(self, words: Sequence[str], cache: Place, delay: float | None = None) -> float | None:
        """Seconds that a command took after it began to write; None if it was killed then.

        It is killed `delay` seconds after that, if it is still at work.
        """
        began = self.processes.Event()
        out = self.folder / "out.txt"
        given = ([*words, "--cache", str(cache)], cache, out, self.folder / "log.txt", began)
        process = self.processes.Process(target=command, args=given)
        process.start()
        while not began.wait(0.001) and process.is_alive():
            pass
        start = time.perf_counter()
        process.join(delay)
        if process.is_alive():
            process.kill()
        process.join()
        if process.exitcode == -9:
            return None
        if process.exitcode:
            raise SystemExit(
                f"lef {' '.join(words)}: exit code {process.exitcode}\n{out.read_text()}"
            )
        return time.perf_counter() - start

    def begun(self) -> list[set[Unit]]:
        """The units of each block that the last command gave to the model."""
        log = self.folder / "log.txt"
        lines = log.read_text().splitlines() if log.exists() else []
        blocks = []
        for line in lines:
            split, block, rows, *arrays = line.split()
            blocks.append({(split, array, int(block), int(rows)) for array in arrays})
        log.unlink(missing_ok=True)
        return blocks


def command(words: Sequence[str], cache: Place, out: Path, log: Path, began: Event) -> None:
    """What a process does: note its first write and each block that it begins, and be `lef`."""
    from lefcache.extract import run
    from lefcache.stores.objects import Bucket

    put = Bucket.put

    def noted_put(bucket: Bucket, name: str, content: bytes) -> None:
        began.set()
        put(bucket, name, content)

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and not began.is_set():
            path, _, flags = given
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and str(path).startswith(str(cache)):
                began.set()

    named_rows = run.named_rows

    def noted(*given: Any) -> Any:
        *_, split, task = given
        line = " ".join([split, str(task.block), str(task.stop - task.start), *task.arrays])
        with log.open("a") as file:
            file.write(f"{line}\n")
        return named_rows(*given)

    run.named_rows, Bucket.put = noted, noted_put  # type: ignore[method-assign]
    sys.addaudithook(watch)
    sys.argv = ["lef", *words]
    with out.open("w") as file, redirect_stdout(file), redirect_stderr(file):
        from cli.main import main

        main(list(words), prog_name="lef")


# What a cache holds


def looked_at(cache: Place) -> "Home":
    """The store of a cache, of which nothing is remembered: another process has changed it."""
    from lefcache.cache.opening import store_at
    from lefcache.stores.objects import bucket_at

    bucket_at.cache_clear()
    return store_at(cache)


def contents(cache: Place) -> Contents:
    """Attributes, shape and bytes of every node, whatever format it is in."""
    store: Home = looked_at(cache)
    found: Contents = {}

    def walk(path: str) -> None:
        info = store.info(path) if path else None
        body = store.read(path, sparse=True).tobytes() if info else b""
        attrs = store.attrs(path)
        attrs.pop("provenance", None)  # it says when a cache was begun
        found[path] = (attrs, str(info), body)
        for name in store.children(path):
            if path or name != "results":
                walk(f"{path}/{name}" if path else name)

    walk("")
    return found


def files(cache: Place) -> dict[str, bytes]:
    """Every file but the locks, which say who held them; not what tells when all was begun."""
    if isinstance(cache, Url):
        bucket = bucket_of(cache)
        names = [name for name in bucket.lengths("") if not name.startswith(".locks/")]
        found = {name: bucket.get(name) or b"" for name in sorted(names)}
    else:
        found = {
            str(file.relative_to(cache)): file.read_bytes()
            for file in sorted(cache.rglob("*"))
            if file.is_file() and ".locks" not in file.parts
        }
    return {name: b"" if name == f"{KEY}/zarr.json" else each for name, each in found.items()}


def bucket_of(cache: Url) -> "Bucket":
    """The objects of a cache."""
    from lefcache.stores.objects import bucket_at

    return bucket_at(cache)


def forget(cache: Place) -> None:
    """Take a cache away."""
    if isinstance(cache, Url):
        bucket = bucket_of(cache)
        bucket.delete([*bucket.lengths("")])
    else:
        shutil.rmtree(cache)


def vouched(cache: Place) -> Iterator[tuple[Unit, int, bytes]]:
    """Each unit that a ledger vouches for, the checksum that it gives, and the bytes there are."""
    import lefcache
    from lefcache.dtypes import raw

    if not looked_at(cache).children(""):
        return
    opened = lefcache.open(cache)
    for split in opened.store.children(KEY):
        pages = opened.pages("tinylm", split, "texts")
        for generation in pages.generations:
            for name in generation.arrays:
                for block, rows, crc in generation.checksums(name):
                    start = block * pages.block_rows
                    values = opened.store.read(f"{pages.path}/{name}", start + rows, start=start)
                    yield (split, name, block, rows), crc, raw(values).tobytes()


# Lives


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


@contextmanager
def object_store() -> Iterator[Url]:
    """A bucket of moto's S3 server on loopback, for this process and those that it starts."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    try:
        asked = http.client.HTTPConnection(endpoint.removeprefix("http://"))
        asked.request("PUT", "/crash")
        asked.getresponse().read()
        os.environ |= {**AWS, "AWS_ENDPOINT_URL": endpoint}
        yield Url("s3://crash")
    finally:
        server.stop()


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
