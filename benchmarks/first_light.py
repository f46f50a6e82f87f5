"""The main job on real input, as a user types it, written down with what it printed.

    python benchmarks/first_light.py --data FOLDER --models FOLDER > benchmarks/first-light.md

FOLDER holds sst2, r8 and mr as tab-separated files; the models' folder holds `smalldecoder`, a
small Llama-architecture decoder. Works in a scratch folder; takes about a quarter of an hour on
two cores.
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LEF = Path(sys.executable).with_name("lef")
SST2 = "extract --data data/sst2 --model minilm --all-layers --pool mean --pool first"
DECODER = "--model smalldecoder=models/smalldecoder"


class Notebook:
    """Runs commands in a scratch folder and prints them as Markdown."""

    def __init__(self, scratch: Path, hidden: dict[str, str]) -> None:
        self.scratch, self.hidden = scratch, hidden

    def tell(self, text: str) -> None:
        """A paragraph."""
        print(f"{text}\n", flush=True)

    def show(self, command: str, printed: str) -> None:
        """A command with what it printed, without this machine's paths."""
        for path, name in self.hidden.items():
            printed = printed.replace(path, name)
        lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
        print(f"```console\n$ {command}\n{lines}\n```\n", flush=True)

    def lef(self, words: str) -> None:
        """Run `lef` to its end; progress lines are left out."""
        done = subprocess.run(
            [str(LEF), *shlex.split(words)],
            cwd=self.scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed = re.sub(r"^.* rows/s, .* left\n", "", done.stdout, flags=re.M)
        self.show(f"lef {words}", printed)
        assert done.returncode == 0, printed

    def kill_half_way(self, words: str, rows: int) -> None:
        """Start `lef` and send SIGKILL once the ledger vouches for that many rows."""
        running = subprocess.Popen(
            [str(LEF), *shlex.split(words)],
            cwd=self.scratch,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ledger = self.scratch / "lef-cache/sst2/minilm/train/ledger/0/c"
        while len(list(ledger.glob("*/0"))) * 1024 < rows:
            time.sleep(0.05)
            assert running.poll() is None, "it ended before it could be killed"
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        self.show(
            f"lef {words} &\n$ kill -9 %1        # once half of the rows were there", "Killed"
        )

    def shell(self, command: str) -> None:
        """Run a shell command."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.show(command, f"{done.stdout}(exit code {done.returncode})")
        assert done.returncode == 0, done.stdout


def write(book: Notebook) -> None:
    """The whole session."""
    book.tell("# First light")
    book.tell(
        "What a user types on real input and what it prints, written by "
        "`benchmarks/first_light.py`. SST-2, R8 and MR are the public sets; `smalldecoder` is a "
        "Llama-architecture decoder of 8 blocks and 8.5 M parameters, trained from scratch."
    )
    book.tell("## SST-2: all layers, two poolings, killed half-way and resumed")
    book.kill_half_way(SST2, 33_000)
    book.lef("ls")
    book.lef(SST2)
    book.tell("The same from beginning to end, into another cache, and every file compared:")
    book.lef(f"{SST2} --cache uninterrupted")
    book.shell("diff -r lef-cache/sst2/minilm/train uninterrupted/sst2/minilm/train")
    book.tell("## R8 and MR with MiniLM, MR with a decoder")
    for data in ("r8", "mr"):
        book.lef(f"extract --data data/{data} --model minilm")
    book.lef(f"extract --data data/mr {DECODER}")
    book.lef("ls")
    book.tell("## Which layer?")
    book.lef("sweep --data sst2 --models minilm")
    book.lef("sweep --data sst2 --models minilm:all@first")
    book.lef("sweep --data r8 --models minilm")
    book.lef("sweep --data mr --models minilm,smalldecoder")
    book.tell("## Two architectures in one head")
    recipe = "--epochs 30 --seeds 3"
    book.lef(f"fuse --data mr --models minilm:5,smalldecoder:5 --op hadamard-res {recipe}")
    book.lef(f"fuse --data mr --models minilm:5 --op concat {recipe}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "data").symlink_to(options.data.resolve())
        (scratch / "models").symlink_to(options.models.resolve())
        hidden = {str(options.data.resolve()): "data", str(options.models.resolve()): "models"}
        write(Notebook(scratch, hidden))


if __name__ == "__main__":
    main()
