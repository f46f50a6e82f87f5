"""The fit loop: whole features in memory, one permutation an epoch, the best epoch kept."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from lefcache.errors import NotFiniteError, RecipeError
from lefcache.presets import VOTE
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.train.card import Card
from lefcache.train.fusion import check_features
from lefcache.train.head import Head, new_head
from lefcache.train.inputs import measure
from lefcache.train.objective import Objective, arithmetic
from lefcache.train.optim import lr_at, optimiser_of, set_lr
from lefcache.train.protocol import (
    BY_CARVED,
    BY_SPLIT,
    Part,
    check_split,
    known_rows,
    labelled,
    training_parts,
)
from lefcache.train.scoring import EVAL_ROWS, logits, score
from lefcache.train.trained import Epoch, Trained
from lefcache.train.vote import Fitted, OnEpoch, fit_members


@dataclass(frozen=True)
class Loaded:
    """A part in memory: features (N, D_k) as stored; `index` and `labels` (M,) of the rows used."""

    features: tuple[Tensor, ...]
    index: Tensor
    labels: Tensor

    def batch(self, chosen: Tensor) -> tuple[list[Tensor], Tensor]:
        """K features (B, D_k) float32 and labels (B,) of these positions among the rows used."""
        rows = self.index[chosen]
        # Half the memory as float16 or bfloat16: only the batch is widened.
        features = [feature.index_select(0, rows).float() for feature in self.features]
        return features, self.labels[chosen]


@dataclass(frozen=True)
class Rules:
    """How the weights of a head learn from a batch."""

    recipe: Recipe
    optimiser: torch.optim.Optimizer
    objective: Objective


def train(
    table: Table,
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    validation: Table | None = None,
    test: Table | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    on_epoch: OnEpoch | None = None,
) -> tuple[Head, Trained]:
    """Train one head and keep its best epoch, chosen by validation and never by test.

    The best epoch has the highest validation accuracy; ties go to the lower validation log-loss,
    then to the earlier epoch. The members of a vote are trained one after the other, each as if it
    were alone. The same arguments give the same bits again on the same CPU and thread count, and
    the caller's random numbers are left alone.

    Args:
        table: the rows to learn from.
        recipe: how.
        validation: the corpus's own validation split; without it a tenth of `table` is carved.
        test: scored once, with the best epoch.
        seed: of initial weights, dropout and order; the carved rows do not depend on it.
        device: `auto`, `cpu`, `cuda` or a torch device.
        on_epoch: called after every epoch.

    Raises:
        CorpusError: a table without labels, or a label that never occurs in train.
        MismatchError: tables of different features, classes or Specs.
        NotFiniteError: the loss is no longer a number.
        RecipeError: a seed or device that does not exist.
    """
    start = time.perf_counter()
    where = device_of(device)
    check_features(recipe, table.features)
    learned, chosen = training_parts(table, validation)
    tested = None if test is None else labelled(test)
    if tested is not None:
        check_split(learned, tested)
    recipe = recipe.settled(len(table.widths))
    fit = partial(fit_members, _fit_one) if recipe.fusion == VOTE else _fit_one
    head, best_epoch, history, correct = fit(recipe, learned, chosen, seed, where, on_epoch)
    scored = score(None if test is None else logits(head, test), tested)
    trained = Trained(
        best_epoch=best_epoch,
        val_accuracy=float(correct.mean()),
        layer_weights=head.layer_weights,
        **scored,
        val_correct=correct,
        n_train=len(learned),
        n_val=len(chosen),
        n_test=len(tested) if tested else 0,
        n_val_known=known_rows(learned, chosen),
        n_test_known=known_rows(labelled(table), tested) if tested else 0,
        dropped=learned.dropped + chosen.dropped + (tested.dropped if tested else 0),
        seconds=time.perf_counter() - start,
        history=tuple(history),
    )
    if table.origins:
        how = {"seed": seed, "selected_by": BY_SPLIT if validation is not None else BY_CARVED}
        head.card = Card.of(table, recipe, how | trained.figures())
    return head, trained


def device_of(device: str | torch.device) -> torch.device:
    """The torch device that a name stands for; `auto` is the GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RecipeError(f"no device '{device}': use auto, cpu or cuda") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise RecipeError("torch sees no GPU here: use --device cpu, or install torch for CUDA")
    return chosen


def _fit_one(
    recipe: Recipe,
    learned: Part,
    chosen: Part,
    seed: int,
    where: torch.device,
    on_epoch: OnEpoch | None,
) -> Fitted:
    with _own_randomness(seed, where):
        head = new_head(learned.table.widths, len(learned.table.classes), recipe).to(where)
        history, correct = _fit(head, recipe, learned, chosen, seed, on_epoch)
    best = min(history, key=_rank)
    return head, best.number, history, correct


def _fit(
    head: Head,
    recipe: Recipe,
    learned: Part,
    chosen: Part,
    seed: int,
    on_epoch: OnEpoch | None,
) -> tuple[list[Epoch], NDArray[np.bool_]]:
    """Train the head in place, leave its best epoch in it, and say what that had right."""
    where = next(head.parameters()).device
    data = _load(learned, where)
    judged = _load(chosen, where, data if chosen.table is learned.table else None)
    measure(head.inputs, data.features, data.index)
    objective = Objective(recipe, data.labels, len(learned.table.classes))
    rules = Rules(recipe, optimiser_of(head.parameters(), recipe), objective)
    history: list[Epoch] = []
    best: tuple[float, float, int] | None = None
    kept = {name: value.clone() for name, value in head.state_dict().items()}
    correct = torch.zeros(0, dtype=torch.bool)
    for number in range(1, recipe.epochs + 1):
        # The order is a function of seed and epoch alone, whatever was drawn before.
        order = np.random.default_rng((seed, number)).permutation(len(learned))
        train_loss = _epoch(head, rules, data, torch.from_numpy(order).to(where), number)
        val_loss, right = _judge(head, judged)
        epoch = Epoch(number, train_loss, val_loss, float(right.double().mean()))
        _check_finite(epoch, recipe)
        history.append(epoch)
        if best is None or _rank(epoch) < best:
            best, correct = _rank(epoch), right
            for name, value in head.state_dict().items():
                kept[name].copy_(value)
        if on_epoch is not None:
            on_epoch(epoch)
        if recipe.patience and number - best[-1] >= recipe.patience:
            break
    head.load_state_dict(kept)
    return history, correct.numpy()


def _rank(epoch: Epoch) -> tuple[float, float, int]:
    """Less for a better epoch."""
    return -epoch.val_accuracy, epoch.val_loss, epoch.number


def _epoch(head: Head, rules: Rules, data: Loaded, order: Tensor, number: int) -> float:
    """The pass of this number over the rows, in this order; returns the mean loss."""
    head.train()
    recipe, batches = rules.recipe, torch.split(order, rules.recipe.batch)
    total = torch.zeros((), device=order.device)
    for step, chosen in enumerate(batches, start=(number - 1) * len(batches)):
        features, labels = data.batch(chosen)
        set_lr(rules.optimiser, lr_at(recipe, step, recipe.epochs * len(batches)))
        rules.optimiser.zero_grad()
        with arithmetic(recipe, order.device):
            loss = rules.objective(head(*features), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        rules.optimiser.step()
        total += loss.detach() * len(chosen)  # read once an epoch: reading waits for a GPU
    return float(total) / len(order)


def _judge(head: Head, data: Loaded) -> tuple[float, Tensor]:
    """The log-loss over all rows used, and which of them (M,) are right."""
    head.eval()
    with torch.inference_mode():
        places = torch.arange(len(data.index), device=data.index.device)
        values = torch.cat([head(*data.batch(some)[0]) for some in torch.split(places, EVAL_ROWS)])
        # Summed on the CPU: not every device has float64.
        values, labels = values.cpu(), data.labels.cpu()
        return float(cross_entropy(values.double(), labels)), values.argmax(dim=1) == labels


def _load(part: Part, where: torch.device, shared: Loaded | None = None) -> Loaded:
    features = shared.features if shared else tuple(_whole(rows) for rows in part.table.rows)
    return Loaded(
        tuple(feature.to(where) for feature in features),
        torch.from_numpy(part.index).to(where),
        torch.from_numpy(part.labels).to(where),
    )


def _whole(rows: Any) -> Tensor:
    """All rows in memory, in the type that they have on disk, read from front to back."""
    bits = getattr(rows, "bits", None)  # of bfloat16, which numpy would widen; else nothing
    source = rows if bits is None else bits
    whole = np.empty(source.shape, source.dtype)
    for low in range(0, len(whole), EVAL_ROWS):
        whole[low : low + EVAL_ROWS] = source[low : low + EVAL_ROWS]
    tensor = torch.from_numpy(whole)
    return tensor if bits is None else tensor.view(torch.bfloat16)


def _check_finite(epoch: Epoch, recipe: Recipe) -> None:
    if not np.isfinite([epoch.train_loss, epoch.val_loss]).all():
        raise NotFiniteError(
            f"the loss is no number after epoch {epoch.number}: lower lr (now {recipe.lr:g}), or "
            "look for NaN and infinity in these features"
        )


@contextmanager
def _own_randomness(seed: int, where: torch.device) -> Iterator[None]:
    """Random numbers that start from `seed` and leave the caller's where they were."""
    if seed < 0:
        raise RecipeError(f"seed is {seed}: give a number from 0")
    gpu = where.type == "cuda"
    with torch.random.fork_rng(devices=[where] if gpu else []):
        # Not torch.manual_seed, which would reach devices that are not given back.
        torch.default_generator.manual_seed(seed)
        if gpu:
            with torch.cuda.device(where):
                torch.cuda.manual_seed(seed)
        if where.type == "mps":
            torch.mps.manual_seed(seed)
        yield
