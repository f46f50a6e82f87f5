"""Commands in processes of their own, which can be killed, and what the caches they write hold."""

import http.client
import logging
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lefcache.files import Url

if TYPE_CHECKING:
    from lefcache.stores import Home
    from lefcache.stores.objects import Bucket

WORDS = ["a", "cat", "sat", "on", "the", "mat", "film", "was", "not", "good", "but", "very", "bad"]
KEY = "texts/tinylm"
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
    from lefcache.extract import compute
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

    embed = compute.embed

    def noted(*given: Any) -> Any:
        _, assignment, task, *_ = given
        rows = str(task.stop - task.start)
        line = " ".join([assignment.request.split, str(task.block), rows, *task.arrays])
        with log.open("a") as file:
            file.write(f"{line}\n")
        return embed(*given)

    compute.embed, Bucket.put = noted, noted_put  # type: ignore[method-assign]
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
        for name in ("provenance", "work"):  # when a cache was begun, and how long it took
            attrs.pop(name, None)
        found[path] = (attrs, str(info), body)
        for name in store.children(path):
            if path or name != "results":
                walk(f"{path}/{name}" if path else name)

    walk("")
    return found


def files(cache: Place) -> dict[str, bytes]:
    """Every file but the locks, which say who held them; not what tells when, and how long."""
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
