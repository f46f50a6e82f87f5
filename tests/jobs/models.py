"""Models that a cluster's workers load, and that go wrong in one way or another."""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from lefcache.errors import ModelError
from lefcache.testing import FakeBackbone


@dataclass(frozen=True)
class Load:
    """Loads a fake model whose worker dies, once, at a text; fails at another; is slow at a third.

    `mark` is a file that tells what has happened before, and counts the texts of each pass.
    """

    mark: str
    deadly: str = ""
    poisoned: str = ""
    slow: str = ""
    changing: bool = False  # the second one to load it gets another model
    missing: bool = False
    environment: tuple[tuple[str, str], ...] = ()  # that the nodes of a real cluster have

    def __call__(self) -> FakeBackbone:
        os.environ |= dict(self.environment)
        if self.missing:
            raise ModelError("no model at 'nowhere': give a folder")
        backbone = _Fake(self)
        if self.changing and Path(f"{self.mark}.loaded").exists():
            backbone.spec = replace(backbone.spec, weights="others")
        Path(f"{self.mark}.loaded").touch()
        return backbone


class _Fake(FakeBackbone):
    def __init__(self, load: Load) -> None:
        super().__init__()
        self.load = load

    def tokenize(self, texts):
        load = self.load
        with Path(load.mark).open("a") as seen:
            seen.write("".join(f"{text}\n" for text in texts))
        if load.deadly in texts and not Path(f"{load.mark}.died").exists():
            Path(f"{load.mark}.died").touch()
            os._exit(9)
        if load.poisoned in texts:
            raise RuntimeError("this text is poison")
        if load.slow in texts:
            time.sleep(2)
        time.sleep(0.02)
        return super().tokenize(texts)
