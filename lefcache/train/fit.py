"""Heads from tables: which rows teach, which choose, which are scored."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from lefcache.errors import RecipeError
from lefcache.presets import VOTE
from lefcache.recipe import Recipe
from lefcache.rows import Table
from lefcache.train.card import Card
from lefcache.train.fusion import check_features
from lefcache.train.head import Head
from lefcache.train.members import Fitted, Member, OnEpoch, fit_members
from lefcache.train.objective import check_arithmetic
from lefcache.train.protocol import (
    BY_CARVED,
    BY_SPLIT,
    Part,
    check_split,
    known_rows,
    labelled,
    training_parts,
)
from lefcache.train.scoring import logits, score
from lefcache.train.trained import Trained
from lefcache.train.vote import fit_votes


@dataclass(frozen=True)
class Job:
    """One head that is wanted: its tables, as `train` takes them, and its seed."""

    table: Table
    validation: Table | None = None
    test: Table | None = None
    seed: int = 0


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
    then to the earlier epoch. The members of a vote are trained each as if it were alone. The same
    arguments give the same bits again on the same CPU and thread count, and the caller's random
    numbers are left alone.

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
        RecipeError: a seed or device that does not exist, or bfloat16 where there is none.
    """
    job = Job(table, validation, test, seed)
    return next(train_all([job], recipe, device=device, on_epoch=on_epoch))


def train_all(
    jobs: Sequence[Job],
    recipe: Recipe = Recipe(),  # noqa: B008  frozen
    *,
    device: str | torch.device = "auto",
    memory: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> Iterator[tuple[Head, Trained]]:
    """Train one head for each job, as many at once as pays; gives them in the order of the jobs.

    Each is what `train` makes of its job, but for the rounding of products: whatever is drawn
    at random depends on its seed alone. Raises what `train` does, all but the loss before any is
    trained.

    Args:
        jobs: layers, seeds, or both, of equally many features; neighbours share what they can.
        recipe: how.
        device: `auto`, `cpu`, `cuda` or a torch device.
        memory: bytes that heads and layers may take; None for most of what is free.
        on_epoch: called after every epoch; the heads are then trained in turn.
    """
    where = device_of(device)
    check_arithmetic(recipe, where)
    recipe = recipe.settled(len(jobs[0].table.widths))
    parts: dict[tuple[int, ...], tuple[Part, Part]] = {}
    members = []
    for job in jobs:
        if job.seed < 0:
            raise RecipeError(f"seed is {job.seed}: give a number from 0")
        if (key := _rows_of(job)) not in parts:
            parts[key] = _parts(recipe, job)
        members.append(Member(*parts[key], job.seed))
    fit = partial(fit_members, where=where, memory=memory, on_epoch=on_epoch)
    fitted = (
        fit_votes(fit, recipe, members, where) if recipe.fusion == VOTE else fit(recipe, members)
    )
    for job, member, one in zip(jobs, members, fitted, strict=True):
        yield _trained(recipe, job, member, one)


def _rows_of(job: Job) -> tuple[int, ...]:
    return id(job.table), id(job.validation), id(job.test)


def _parts(recipe: Recipe, job: Job) -> tuple[Part, Part]:
    """The rows to learn from and to choose by, once all that could be wrong is refused."""
    check_features(recipe, job.table.features)
    learned, chosen = training_parts(job.table, job.validation)
    if job.test is not None:
        check_split(learned, labelled(job.test))
    return learned, chosen


def _trained(recipe: Recipe, job: Job, member: Member, one: Fitted) -> tuple[Head, Trained]:
    start = time.perf_counter()
    head, learned, chosen = one.head, member.learned, member.chosen
    tested = None if job.test is None else labelled(job.test)
    scored = score(None if job.test is None else logits(head, job.test), tested)
    trained = Trained(
        best_epoch=one.best_epoch,
        val_accuracy=float(one.correct.mean()),
        layer_weights=head.layer_weights,
        **scored,
        val_correct=one.correct,
        n_train=len(learned),
        n_val=len(chosen),
        n_test=len(tested) if tested else 0,
        n_val_known=known_rows(learned, chosen),
        n_test_known=known_rows(labelled(job.table), tested) if tested else 0,
        dropped=learned.dropped + chosen.dropped + (tested.dropped if tested else 0),
        seconds=one.seconds + time.perf_counter() - start,
        history=one.history,
    )
    if job.table.origins:
        by = BY_CARVED if job.validation is None else BY_SPLIT
        how = {"seed": job.seed, "selected_by": by}
        head.card = Card.of(job.table, recipe, how | trained.figures())
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
