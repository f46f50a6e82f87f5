"""Many heads from few passes: which train together, on which threads, and what is loaded when."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from threading import Event, Lock
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from lefcache.errors import RecipeError
from lefcache.recipe import Recipe
from lefcache.train.head import Head, new_head
from lefcache.train.inputs import measure
from lefcache.train.loop import Task, fit
from lefcache.train.protocol import Part
from lefcache.train.scoring import EVAL_ROWS
from lefcache.train.steps import Loaded
from lefcache.train.trained import Epoch
from lefcache.train.workers import in_order

OnEpoch = Callable[[Epoch], None]

# Weights of one stack on a CPU. Below, a step is mostly overhead, which a stack has once for all;
# above, a stack was no faster than its heads one by one (26 ms a step and head at width 1024,
# whether 1, 2, 4 or 7 of them), and single heads are spread over the threads more evenly.
STACK_BYTES = 4 << 20
SHARE = 0.8  # of the memory that is free, where nobody says how much may be used
# Copies of a weight: itself, its gradient, two moments of Adam, the best epoch's.
COPIES = 5

_drawing = Lock()  # torch's own random numbers, which initial weights come from, are everybody's


@dataclass(frozen=True)
class Member:
    """One head to be trained: the rows it learns from, those its epochs are chosen by, its seed."""

    learned: Part
    chosen: Part
    seed: int


@dataclass(frozen=True)
class Fitted:
    """A trained head at its best epoch; `correct` (N,) are the rows chosen by that it has right.

    `seconds` are its share of the time of those that were trained with it.
    """

    head: Head
    best_epoch: int
    history: tuple[Epoch, ...]
    correct: NDArray[np.bool_]
    seconds: float


def fit_members(
    recipe: Recipe,
    members: Sequence[Member],
    where: torch.device,
    *,
    memory: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> Iterator[Fitted]:
    """Train all members, equal shapes together; gives them in their order.

    On a GPU one stack of as many as fit trains in a captured graph, and the next one's layers are
    read meanwhile. On a CPU every thread trains a stack of its own.

    Args:
        recipe: how, settled.
        members: neighbours share a stack where their shapes agree.
        where: on which device.
        memory: bytes that heads and layers may take; None for most of what is free.
        on_epoch: called after every epoch of every member; then they are trained in turn.
    """
    gpu, alone = where.type != "cpu", not recipe.named or on_epoch is not None
    workers = 1 if gpu or alone else max(1, min(torch.get_num_threads(), len(members)))
    free = memory or int(SHARE * _free(where))
    groups = grouped(members, recipe, free // workers, alone, None if gpu else workers)
    stop = Event()
    train = partial(_train, recipe, where, stop, on_epoch)
    if gpu and len(groups) > 1:
        ahead = in_order(lambda group: (group, _loaded(group, torch.device("cpu"))), groups, 2)
        for group, data in ahead:
            yield from train(group, data)
        return
    for found in in_order(train, groups, min(workers, len(groups)), stop):
        yield from found


def grouped(
    members: Sequence[Member], recipe: Recipe, memory: int, alone: bool, workers: int | None
) -> list[list[Member]]:
    """Members that train together: neighbours of equal shape and labels that fit the memory.

    On a CPU (`workers`) a group is also small enough for its weights to stay near the processor,
    and for every worker to have one.
    """
    if alone:
        return [[member] for member in members]
    most = len(members) if workers is None else -(-len(members) // workers)
    groups: list[list[Member]] = []
    for member in members:
        near = most if workers is None else STACK_BYTES // weight_bytes(member, recipe)
        last = groups[-1] if groups else []
        if (
            last
            and len(last) < min(most, near)
            and _shape(last[0]) == _shape(member)
            and np.array_equal(last[0].learned.labels, member.learned.labels)
            and bytes_of([*last, member], recipe) <= memory
        ):
            last.append(member)
        else:
            groups.append([member])
    return groups


def bytes_of(members: Sequence[Member], recipe: Recipe) -> int:
    """What training these members together takes, about: heads, layers, and rows under way."""
    rows = {id(each): each for part in _parts(members) for each in part.table.rows}
    layers = sum(int(each.shape[0] * each.shape[1]) * _width(each) for each in rows.values())
    widest = sum(members[0].learned.table.widths) + recipe.width + sum(recipe.hidden)
    judged = 4 * widest * min(EVAL_ROWS, max(len(member.chosen) for member in members))
    stepping = 4 * 4 * widest * recipe.batch * len(members)
    return layers + judged + stepping + COPIES * len(members) * weight_bytes(members[0], recipe)


def _width(rows: Any) -> int:
    """Bytes of a number in memory: as on disk."""
    return int(np.dtype(getattr(rows, "stored", rows.dtype)).itemsize)


def weight_bytes(member: Member, recipe: Recipe) -> int:
    """What the weights of a member's head take."""
    table = member.learned.table
    with torch.device("meta"):
        head = new_head(table.widths, len(table.classes), recipe)
    return 4 * sum(int(value.numel()) for value in head.state_dict().values())


def _shape(member: Member) -> tuple[Any, ...]:
    table = member.learned.table
    return table.widths, len(table.classes), len(member.learned), len(member.chosen)


def _train(
    recipe: Recipe,
    where: torch.device,
    stop: Event,
    on_epoch: OnEpoch | None,
    group: Sequence[Member],
    data: dict[int, Loaded] | None = None,
) -> list[Fitted]:
    start = time.perf_counter()
    loaded = _moved(data or _loaded(group, where), where)
    tasks = [_task(recipe, member, loaded, where) for member in group]

    def tell(epochs: Sequence[tuple[int, Epoch]]) -> None:
        if stop.is_set():
            raise InterruptedError  # heard by nobody: who waited has gone
        if on_epoch is not None:
            for _, epoch in epochs:
                on_epoch(epoch)

    # Operators of our own draw nothing; one of somebody else's may, as a head of its own would.
    drawn: AbstractContextManager[None] = nullcontext()
    if not recipe.named:
        drawn = own_randomness(group[0].seed, where)
    with drawn:
        records = fit(recipe, tasks, where, tell)
    seconds = (time.perf_counter() - start) / len(group)
    return [
        Fitted(task.head, record.best.number, tuple(record.history), record.correct, seconds)
        for task, record in zip(tasks, records, strict=True)
        if record.best is not None
    ]


def _task(recipe: Recipe, member: Member, loaded: dict[int, Loaded], where: torch.device) -> Task:
    table = member.learned.table
    with _drawing, own_randomness(member.seed, where):
        head = new_head(table.widths, len(table.classes), recipe).to(where)
    data, judged = loaded[id(member.learned)], loaded[id(member.chosen)]
    measure(head.inputs, data.features, data.index)
    name = ",".join(map(str, table.features))
    return Task(head, member.seed, data, judged, name)


def _loaded(group: Sequence[Member], where: torch.device) -> dict[int, Loaded]:
    """Each part of the group in memory, by its `id`; what several parts share, once."""
    read: dict[int, Tensor] = {}
    equal: dict[bytes, Tensor] = {}
    found = {}

    def only(values: NDArray[Any]) -> Tensor:
        return equal.setdefault(values.tobytes(), torch.from_numpy(values).to(where))

    for part in _parts(group):
        for rows in part.table.rows:
            if id(rows) not in read:
                read[id(rows)] = whole(rows).to(where)
        found[id(part)] = Loaded(
            tuple(read[id(rows)] for rows in part.table.rows),
            only(part.index),
            only(part.labels),
            len(part.table.classes),
        )
    return found


def _moved(loaded: dict[int, Loaded], where: torch.device) -> dict[int, Loaded]:
    moved: dict[int, Tensor] = {}

    def once(values: Tensor) -> Tensor:
        if id(values) not in moved:
            moved[id(values)] = values.to(where)
        return moved[id(values)]

    return {
        name: replace(
            each,
            features=tuple(map(once, each.features)),
            index=once(each.index),
            labels=once(each.labels),
        )
        for name, each in loaded.items()
    }


def _parts(group: Sequence[Member]) -> list[Part]:
    parts = [part for member in group for part in (member.learned, member.chosen)]
    return [*{id(part): part for part in parts}.values()]


def whole(rows: Any) -> Tensor:
    """All rows in memory, in the type that they have on disk, read from front to back."""
    bits = getattr(rows, "bits", None)  # of bfloat16, which numpy would widen; else nothing
    source = rows if bits is None else bits
    read = np.empty(source.shape, source.dtype)
    for low in range(0, len(read), EVAL_ROWS):
        read[low : low + EVAL_ROWS] = source[low : low + EVAL_ROWS]
    tensor = torch.from_numpy(read)
    return tensor if bits is None else tensor.view(torch.bfloat16)


def _free(where: torch.device) -> int:
    if where.type == "cuda":
        return int(torch.cuda.mem_get_info(where)[0])
    return int(psutil.virtual_memory().available)


@contextmanager
def own_randomness(seed: int, where: torch.device) -> Iterator[None]:
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
