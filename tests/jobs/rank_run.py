"""One rank of an extraction with the fake model: CACHE ROWS [text that kills it]."""

import os
import sys

import lefcache
from lefcache.corpus import Corpus, Split
from lefcache.extract import extract
from lefcache.testing import FakeBackbone

folder, rows, deadly = sys.argv[1], int(sys.argv[2]), (sys.argv[3:] or [None])[0]


class Deadly(FakeBackbone):
    """Ends its process at one text."""

    def tokenize(self, texts):
        if deadly in texts:
            os._exit(9)
        return super().tokenize(texts)


texts = [f"{'a ' * (number % 7)}row {number}" for number in range(rows)]
corpus = Corpus("tiny", ("no", "yes"), {"train": Split(texts), "test": Split(texts[:5])}, "demo")
receipt = extract(Deadly(), corpus, lefcache.open(folder), block_rows=4, batch_tokens=12)
sys.stdout.write("\n".join([str(receipt.computed_blocks), *receipt.notes, ""]))
