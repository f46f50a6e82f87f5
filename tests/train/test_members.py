from dataclasses import replace

import numpy as np
import pytest
import torch

from lefcache.recipe import Recipe
from lefcache.train import members as planning
from lefcache.train import train
from lefcache.train.draws import Masks, order_of
from lefcache.train.fit import Job, train_all
from lefcache.train.head import new_head
from lefcache.train.layers import dropouts
from lefcache.train.members import Member, bytes_of, grouped, weight_bytes
from lefcache.train.protocol import training_parts
from lefcache.train.stack import Stack
from lefcache.train.steps import Captured

TINY = Recipe(width=16, hidden=(16, 8), lr=3e-3, batch=20, epochs=2)
CPU = torch.device("cpu")


def weights(head):
    return torch.cat([value.flatten() for value in head.state_dict().values()])


@pytest.fixture(autouse=True)
def _threads():
    """One thread in the caller, whatever the machine: stacks then hold all that fit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def jobs(split):
    """Three layers, two seeds each, of two features, and validation."""
    return [
        Job(
            split(70, (6, 9), noise=2, classes=3, seed=layer),
            split(30, (6, 9), noise=2, classes=3, seed=layer, split="validation"),
            seed=seed,
        )
        for layer in range(3)
        for seed in (0, 7)
    ]


SETTINGS = [
    {"op": "concat"},
    {"op": "moe-res", "standardise": True},
    {"op": "quaternion", "optimiser": "sgd", "schedule": "warmup-cosine", "lr": 0.1},
    {"op": "vote", "class_weights": "balanced", "label_smoothing": 0.1},
    {"op": "hadamard-res", "preset": "released", "batch": 20, "optimiser": "adamw"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: settings["op"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_heads_company_does_not_matter(jobs, settings, threads):
    """Alone and among five others, stacked or on threads: equal to 1e-5 after an epoch, and two."""
    recipe = replace(TINY, **settings)
    some = (0, 3) if threads == 2 else range(6)
    alone = {place: next(train_all([jobs[place]], recipe)) for place in some}
    torch.set_num_threads(threads)
    together = [*train_all(jobs, recipe)]
    for place, (head, trained) in alone.items():
        other, same = together[place]
        torch.testing.assert_close(weights(head), weights(other), rtol=0, atol=1e-5)
        assert trained.val_accuracy == same.val_accuracy
        assert [epoch.number for epoch in trained.history] == [
            epoch.number for epoch in same.history
        ]


def test_class_weights_are_those_of_a_heads_own_labels(split):
    """Neighbours of one shape and other labels: neither weighs classes by the other's."""
    table = split(60, (6,), noise=2, classes=2)
    rare = replace(table, labels=np.where(np.arange(60) < 6, 1, 0).astype(np.int32))
    validation = split(30, (6,), noise=2, classes=2, split="validation")
    jobs = [Job(table, validation), Job(rare, validation)]
    recipe = replace(TINY, class_weights="balanced")
    for job, (head, _) in zip(jobs, train_all(jobs, recipe), strict=True):
        alone, _ = next(train_all([job], recipe))
        torch.testing.assert_close(weights(head), weights(alone), rtol=0, atol=1e-5)


def test_a_stack_trains_at_once_what_takes_a_loop_otherwise(jobs, monkeypatch):
    sizes = []
    fit = planning.fit
    monkeypatch.setattr(
        planning,
        "fit",
        lambda recipe, tasks, *more: sizes.append(len(tasks)) or fit(recipe, tasks, *more),
    )
    assert len([*train_all(jobs, TINY)]) == 6
    assert sizes == [6]
    monkeypatch.setattr(planning, "STACK_BYTES", 0)
    assert len([*train_all(jobs, TINY)]) == 6
    assert sizes == [6] + [1] * 6


def test_each_member_stops_at_its_own_epoch_and_keeps_its_best(jobs):
    recipe = replace(TINY, epochs=12, patience=2, lr=2e-2)
    together = [*train_all(jobs, recipe)]
    lengths = [len(trained.history) for _, trained in together]
    assert len(set(lengths)) > 1  # some left the stack before others
    for job, (head, trained) in zip(jobs, together, strict=True):
        best = min(trained.history, key=lambda epoch: (-epoch.val_accuracy, epoch.val_loss))
        assert trained.best_epoch == best.number
        assert len(trained.history) == min(12, best.number + 2)
        alone, same = train(job.table, recipe, validation=job.validation, seed=job.seed)
        assert same.best_epoch == trained.best_epoch
        torch.testing.assert_close(weights(head), weights(alone), rtol=0, atol=1e-4)


def test_an_operator_of_your_own_is_never_stacked(jobs):
    shapes = set()

    def own(features):
        shapes.add(features[0].ndim)
        return torch.cat([each.flatten(1) for each in features], dim=1)

    recipe = replace(TINY, op=own)
    torch.set_num_threads(2)
    together = [*train_all(jobs[:3], recipe)]
    alone = [next(train_all([job], recipe)) for job in jobs[:3]]
    assert shapes == {2}
    for (one, _), (other, _) in zip(together, alone, strict=True):
        assert torch.equal(weights(one), weights(other))


def test_groups_fit_the_memory_and_hold_equal_shapes(split):
    def member(layer, rows=40, widths=(6,), seed=0):
        return Member(*training_parts(split(rows, widths, seed=layer)), seed)

    members = [member(layer) for layer in range(6)]
    assert [len(group) for group in grouped(members, TINY, 1 << 40, False, 1)] == [6]
    assert [len(group) for group in grouped(members, TINY, 1 << 40, False, 2)] == [3, 3]
    assert [len(group) for group in grouped(members, TINY, 1 << 40, True, 2)] == [1] * 6
    room = bytes_of(members[:2], TINY)
    assert [len(group) for group in grouped(members, TINY, room, False, None)] == [2, 2, 2]
    assert [len(group) for group in grouped(members, TINY, 0, False, None)] == [1] * 6
    mixed = [member(0), member(1, widths=(8,)), member(2, rows=50, widths=(8,)), member(3)]
    assert [len(group) for group in grouped(mixed, TINY, 1 << 40, False, None)] == [1] * 4


def test_seeds_of_a_layer_share_it_in_memory(split):
    parts = training_parts(split(400, (64,)))
    seeds = [Member(*parts, seed) for seed in range(5)]
    layers = [Member(*training_parts(split(400, (64,), seed=seed)), 0) for seed in range(5)]
    saved = bytes_of(layers, TINY) - bytes_of(seeds, TINY)
    assert saved == 4 * 400 * 64 * 2
    loaded = planning._loaded(seeds, CPU)
    assert len({id(each.features[0]) for each in loaded.values()}) == 1
    head = new_head((64,), 2, TINY)
    assert weight_bytes(seeds[0], TINY) == 4 * weights(head).numel()


def test_masks_depend_on_seed_and_step_and_on_nothing_else():
    head = new_head((6,), 2, replace(TINY, dropout=(0.5, 0.3)))

    def drawn(seeds, step, rows=1000):
        masks = Masks(head, seeds, None, CPU)
        head.train()
        masks.measure(lambda: head(torch.zeros(2, 6)))
        return masks.draw(step, rows)

    wide, narrow = drawn((3, 5), 11)
    assert (wide.shape, narrow.shape) == ((2, 1000, 16), (2, 1000, 8))
    torch.testing.assert_close(wide[1], drawn((5,), 11)[0][0], rtol=0, atol=0)
    assert not torch.equal(wide[0], wide[1])
    assert not torch.equal(wide[0], drawn((3,), 12)[0][0])
    for mask, rate in ((wide, 0.5), (narrow, 0.3)):
        kept = mask > 0
        assert abs(float(kept.double().mean()) - (1 - rate)) < 0.02
        torch.testing.assert_close(mask[kept], torch.full((int(kept.sum()),), 1 / (1 - rate)))


def test_orders_are_those_of_seed_and_epoch():
    np.testing.assert_array_equal(order_of(4, 2, 9), np.random.default_rng((4, 2)).permutation(9))


def test_a_stack_goes_on_with_some_of_its_members():
    heads = [new_head((6,), 2, TINY) for _ in range(4)]
    stack = Stack(heads, CPU)
    stack.shell.eval()
    optimiser = torch.optim.Adam(stack.parameters, fused=True)
    rows = torch.randn(4, 5, 6)
    stack([rows]).square().sum().backward()
    optimiser.step()
    before = [optimiser.state[value]["exp_avg"].clone() for value in stack.parameters]
    said = stack([rows]).detach()
    left = torch.tensor([1, 3])
    stack.keep(left, optimiser)
    torch.testing.assert_close(stack([rows[left]]), said[left])
    for value, known in zip(stack.parameters, before, strict=True):
        assert value is not None
        torch.testing.assert_close(optimiser.state[value]["exp_avg"], known[left])
        assert optimiser.state[value]["exp_avg"].stride() == value.stride()
    assert optimiser.param_groups[0]["params"] == stack.parameters


def test_a_stack_computes_what_its_heads_do():
    heads = [new_head((6, 4), 3, replace(TINY, op="quaternion-res")).eval() for _ in range(3)]
    stack = Stack(heads, CPU)
    stack.shell.eval()
    features = [torch.randn(3, 5, 6), torch.randn(3, 5, 4)]
    for place, head in enumerate(heads):
        alone = head(*(each[place] for each in features))
        torch.testing.assert_close(stack(features)[place], alone)
    assert not dropouts(stack.shell)[0].training


def test_a_captured_step_warms_up_records_once_for_each_size_and_replays(monkeypatch):
    """The graph's own part is a GPU's; what leads to it runs here with a graph that only notes."""
    seen = []

    class Noted(Captured):
        def _aside(self, chosen, drawn):
            self.step(chosen, drawn)

        def _record(self, chosen, drawn):
            own = chosen.clone(), [mask.clone() for mask in drawn]

            class Graph:
                def replay(self):
                    seen.append(("replay", own[0].tolist(), own[1][0].tolist()))

            seen.append(("record", chosen.shape[1]))
            return Graph(), *own

    step = Noted(lambda chosen, drawn: seen.append(("eager", chosen.tolist())))
    for number in range(6):
        rows = 1 if number == 5 else 2
        step(torch.full((1, rows), number), [torch.full((rows,), float(number))])
    assert [each[0] for each in seen] == [
        *["eager"] * 3,
        *["record", "replay", "replay"],
        "record",
        "replay",
    ]
    assert seen[4:6] == [("replay", [[3, 3]], [3.0, 3.0]), ("replay", [[4, 4]], [4.0, 4.0])]
    assert seen[-1] == ("replay", [[5]], [5.0])


def test_training_ends_soon_after_nobody_waits_for_it(jobs, monkeypatch):
    """As Ctrl-C does: the caller goes, and the thread of the other head ends after its epoch."""
    monkeypatch.setattr(planning, "STACK_BYTES", 0)
    torch.set_num_threads(2)
    fit = planning.fit

    def broken(recipe, tasks, where, tell):
        if tasks[0].seed == 0:
            raise KeyboardInterrupt
        return fit(recipe, tasks, where, tell)

    monkeypatch.setattr(planning, "fit", broken)
    with pytest.raises(KeyboardInterrupt):
        list(train_all(jobs[:2], replace(TINY, epochs=10**7)))
