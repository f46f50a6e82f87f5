"""Who takes part in `benchmarks/sweep.py`: whole sweeps by lefcache, torch and scikit-learn.

Each takes the tables of one model's layers and the options, and gives the test accuracy of the
layer that it chose.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def run_ours(tables: dict[str, Any], options: argparse.Namespace) -> float:
    """The test accuracy of a whole sweep, as a user runs it."""
    from lefcache.study import sweep
    from lefcache.train import Recipe

    probe, _, precision = options.contender.partition(", ")
    settings = {"epochs": options.epochs, "precision": precision or "float32"}
    found = sweep(tables, probe, Recipe(**settings) if probe == "mlp" else Recipe())
    return next(row.test_accuracy for row in found.rows if row.feature == found.best)


def run_sklearn(tables: dict[str, Any], options: argparse.Namespace) -> float:
    """The same with scikit-learn, as its documentation has it, on float32."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    best = (-1.0, None, None)
    for rows, labels, judged, truth, test in layers_of(tables):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        right = model.fit(rows, labels).score(judged, truth)
        best = max(best, (right, model, test), key=lambda each: each[0])
    return best[1].score(np.asarray(best[2], np.float32), tables["test"].labels)


def run_plain(tables: dict[str, Any], options: argparse.Namespace) -> float:
    """The same by the loop that everybody writes first, with rows gathered batch by batch."""
    import torch

    def batches(rows: Any, labels: Any, size: int) -> Iterator[tuple[Any, Any]]:
        for chosen in torch.randperm(len(rows)).split(size):
            yield rows[chosen], labels[chosen]

    return _train(tables, options, lambda rows, labels, size: lambda: batches(rows, labels, size))


def run_loader(tables: dict[str, Any], options: argparse.Namespace) -> float:
    """The same by torch's own way to batches."""
    from torch.utils.data import DataLoader, TensorDataset

    def batches(rows: Any, labels: Any, size: int) -> Callable[[], Any]:
        loader = DataLoader(TensorDataset(rows, labels), batch_size=size, shuffle=True)
        return lambda: loader

    return _train(tables, options, batches)


def _train(
    tables: dict[str, Any], options: argparse.Namespace, source: Callable[..., Any]
) -> float:
    import torch
    from torch.nn.functional import cross_entropy

    from lefcache.train import Recipe

    recipe = Recipe(epochs=options.epochs)
    best: tuple[float, Any, Any] = (-1.0, None, None)
    for place, layer in enumerate(layers_of(tables)):
        torch.manual_seed(place)
        rows, labels, judged, truth = (torch.from_numpy(each) for each in layer[:4])
        head = plain_head(rows.shape[1], len(tables["train"].classes), recipe)
        optimiser = torch.optim.Adam(head.parameters(), lr=recipe.lr)
        batches = source(rows, labels, recipe.batch)
        highest, kept = -1.0, None
        for _ in range(recipe.epochs):
            head.train()
            for some, of_them in batches():
                optimiser.zero_grad()
                cross_entropy(head(some), of_them).backward()
                optimiser.step()
            head.eval()
            with torch.no_grad():
                right = float((head(judged).argmax(dim=1) == truth).double().mean())
            if right > highest:
                highest, kept = right, copy.deepcopy(head)
        best = max(best, (highest, kept, layer[4]), key=lambda each: each[0])
    with torch.no_grad():
        said = best[1](torch.from_numpy(np.array(best[2], np.float32))).argmax(dim=1)
    return float((said.numpy() == tables["test"].labels).mean())


def plain_head(width: int, classes: int, recipe: Any) -> Any:
    """The recipe's head for one feature, as one writes it down."""
    from torch import nn

    first, second = recipe.hidden
    return nn.Sequential(
        *(nn.Linear(width, recipe.width), nn.ReLU()),
        *(nn.Linear(recipe.width, first), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(first, second), nn.ReLU(), nn.Dropout(0.3)),
        nn.Linear(second, classes),
    )


def layers_of(tables: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Rows and labels to learn from and to choose by, and the test's rows, layer by layer."""
    from lefcache.train.protocol import training_parts

    learned, chosen = training_parts(tables["train"], tables.get("validation"))
    for place, test in enumerate(tables["test"].rows):
        taken = [
            np.asarray(part.table.rows[place], np.float32)[part.index] for part in (learned, chosen)
        ]
        yield taken[0], learned.labels, taken[1], chosen.labels, test


OTHERS = {"sklearn": run_sklearn, "plain": run_plain, "loader": run_loader}
