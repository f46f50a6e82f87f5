"""What a head says of the rows of a table, and how often it is right."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lefcache.rows import Table
from lefcache.train.head import Head
from lefcache.train.protocol import Part
from lefcache.train.stats import accuracy_interval, macro_f1

EVAL_ROWS = 4096


def logits(head: Head, table: Table) -> NDArray[np.float32]:
    """The head's logits (N, C) for every row of a table, labelled or not."""
    where = next(head.parameters()).device
    head.eval()
    out = []
    with torch.inference_mode():
        for low in range(0, len(table), EVAL_ROWS):
            # A copy, since a mapped file is read-only and torch wants to own what it holds.
            chunk = [np.array(rows[low : low + EVAL_ROWS]) for rows in table.rows]
            out.append(head(*(torch.from_numpy(each).to(where).float() for each in chunk)).cpu())
    values: NDArray[np.float32] = torch.cat(out).numpy()
    return values


def score(values: NDArray[np.float32] | None, tested: Part | None) -> dict[str, Any]:
    """The test's fields of a `Trained` from logits (N, C) of all its rows; None without a test."""
    names = ("test_accuracy", "test_ci95", "test_macro_f1", "predictions", "probabilities")
    if values is None or tested is None:
        return dict.fromkeys(names)
    predictions = values.argmax(axis=1).astype(np.int32)
    probabilities = torch.from_numpy(values).softmax(dim=1).numpy()
    scored = predictions[tested.index]
    correct = scored == tested.labels
    figures = (
        float(correct.mean()),
        accuracy_interval(correct[None]),
        macro_f1(tested.labels, scored),
    )
    return dict(zip(names, (*figures, predictions, probabilities), strict=True))
