"""The fit loop: one permutation an epoch, each member's best epoch kept, early stopping."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from lefcache.errors import NotFiniteError
from lefcache.recipe import Recipe
from lefcache.train.draws import Masks, order_of
from lefcache.train.head import Head
from lefcache.train.objective import Objective
from lefcache.train.optim import optimiser_of
from lefcache.train.scoring import EVAL_ROWS
from lefcache.train.stack import Stack
from lefcache.train.steps import Loaded, Step, gathered
from lefcache.train.trained import Epoch

OnEpochs = Callable[[Sequence[tuple[int, Epoch]]], None]


@dataclass(frozen=True)
class Task:
    """A head to train, fresh: what it learns from, what its epochs are chosen by, and its seed.

    `name` is what an error calls it.
    """

    head: Head
    seed: int
    data: Loaded
    judged: Loaded
    name: str = "these features"


class Record:
    """What became of one member: its epochs, the best one's numbers and what it had right."""

    def __init__(self) -> None:
        self.history: list[Epoch] = []
        self.best: Epoch | None = None
        self.correct: NDArray[np.bool_] = np.zeros(0, bool)

    def add(self, epoch: Epoch, right: Tensor) -> bool:
        """Take in an epoch; whether it is the best so far."""
        self.history.append(epoch)
        if self.best is not None and _rank(self.best) <= _rank(epoch):
            return False
        self.best, self.correct = epoch, right.numpy()
        return True

    def is_over(self, recipe: Recipe) -> bool:
        """Whether the recipe's patience is at its end."""
        assert self.best is not None
        waited = len(self.history) - self.best.number
        return bool(recipe.patience) and waited >= recipe.patience


def fit(
    recipe: Recipe, tasks: Sequence[Task], where: torch.device, on_epochs: OnEpochs | None = None
) -> list[Record]:
    """Train heads of one shape together, in place, and leave each one's best epoch in it.

    All have as many rows, whose labels are the same. What becomes of a head does not depend on
    those beside it, but for the rounding of products. `on_epochs` is told the number of every task
    that still learns, with its latest epoch.
    """
    records = [Record() for _ in tasks]
    stack = Stack([task.head for task in tasks], where)
    kept = [stack.member(place) for place in range(len(tasks))]
    optimiser = optimiser_of(stack.parameters, recipe)
    going = [*range(len(tasks))]  # tasks that the stack's members belong to
    step = _step(stack, optimiser, recipe, tasks, where)
    for number in range(1, recipe.epochs + 1):
        epochs = _epoch(step, recipe, [tasks[place] for place in going], number)
        for member, (place, (epoch, right)) in enumerate(zip(going, epochs, strict=True)):
            _check_finite(epoch, recipe, tasks[place])
            if records[place].add(epoch, right):
                stack.copy_member(member, kept[place])
        if on_epochs is not None:
            on_epochs([(place, epoch) for place, (epoch, _) in zip(going, epochs, strict=True)])
        left = [member for member, place in enumerate(going) if not records[place].is_over(recipe)]
        if not left:
            break
        if len(left) < len(going):
            going = [going[member] for member in left]
            stack.keep(torch.tensor(left, device=where), optimiser)
            step = _step(stack, optimiser, recipe, [tasks[place] for place in going], where)
    for task, best in zip(tasks, kept, strict=True):
        task.head.load_state_dict(best)
    return records


def _step(
    stack: Stack,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    tasks: Sequence[Task],
    where: torch.device,
) -> Step:
    seeds = [*dict.fromkeys(task.seed for task in tasks)]
    places = [seeds.index(task.seed) for task in tasks]
    masks = Masks(stack.shell, seeds, None if len(tasks) == 1 else torch.tensor(places), where)
    first = tasks[0].data
    stack.shell.train()
    with torch.no_grad():
        two = gathered([first], torch.zeros(1, 2, dtype=torch.long, device=where), [0])[0]
        masks.measure(lambda: stack([each.expand(stack.size, *each.shape[1:]) for each in two]))
    return Step(
        stack=stack,
        optimiser=optimiser,
        objective=Objective(recipe, first.labels, first.classes),
        recipe=recipe,
        masks=masks,
        data=[task.data for task in tasks],
        places=places,
        total=torch.zeros(len(tasks), device=where),
    )


def _epoch(
    step: Step, recipe: Recipe, tasks: Sequence[Task], number: int
) -> list[tuple[Epoch, Tensor]]:
    """One pass over the rows: each member's epoch, and which rows (N,) it then has right."""
    where, rows = step.total.device, len(tasks[0].data.index)
    orders = torch.stack([order_of(seed, number, rows) for seed in step.masks.seeds]).to(where)
    batches = torch.split(orders, recipe.batch, dim=1)
    step.stack.shell.train()
    step.total.zero_()
    for place, chosen in enumerate(batches, start=(number - 1) * len(batches)):
        step.learn(place, recipe.epochs * len(batches), chosen)
    losses = (step.total / rows).tolist()
    judged = _judge(step.stack, [task.judged for task in tasks])
    return [
        (Epoch(number, loss, val_loss, float(right.double().mean())), right)
        for loss, (val_loss, right) in zip(losses, judged, strict=True)
    ]


def _judge(stack: Stack, data: Sequence[Loaded]) -> list[tuple[float, Tensor]]:
    """For each member the log-loss over all rows used, and which of them (N,) are right."""
    stack.shell.eval()
    places = torch.arange(len(data[0].index), device=data[0].index.device)
    with torch.inference_mode():
        values = torch.cat(
            [
                stack(gathered(data, some.unsqueeze(0), [0] * len(data))[0])
                for some in torch.split(places, max(1, EVAL_ROWS // stack.size))
            ],
            dim=1,
        ).cpu()  # (M, N, C), summed on the CPU: not every device has float64
    found = []
    for logits, each in zip(values, data, strict=True):
        labels = each.labels.cpu()
        loss = float(cross_entropy(logits.double(), labels))
        found.append((loss, logits.argmax(dim=1) == labels))
    return found


def _rank(epoch: Epoch) -> tuple[float, float, int]:
    """Less for a better epoch."""
    return -epoch.val_accuracy, epoch.val_loss, epoch.number


def _check_finite(epoch: Epoch, recipe: Recipe, task: Task) -> None:
    if not np.isfinite([epoch.train_loss, epoch.val_loss]).all():
        raise NotFiniteError(
            f"the loss is no number after epoch {epoch.number} on {task.name}, seed {task.seed}: "
            f"lower lr (now {recipe.lr:g}), or look for NaN and infinity in these features"
        )
