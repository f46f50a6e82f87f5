import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lefcache import results as store
from lefcache.errors import CorpusError, RecipeError
from lefcache.feature import FIXED, Feature
from lefcache.recipe import Recipe
from lefcache.study import SCORES, Budget, halving, select, sweep
from lefcache.study import budget as budgets
from lefcache.study.arrange import nested
from lefcache.study.depth import nearest_to
from lefcache.study.ground import Ground, grounds_of
from lefcache.study.halving import rounds, wins
from lefcache.study.probes import Setup
from lefcache.study.regret import agreement
from lefcache.train.protocol import training_parts

TINY = Recipe(width=8, hidden=(8,), dropout=(0.1,), lr=1e-2, batch=50, epochs=3)
LONG = Recipe(width=64, hidden=(64,), dropout=(0.1,), epochs=120)  # heads that cost something
NOISE = (6.0, 4.0, 0.8, 3.0, 5.0)  # of layers 0 to 4
WIDE = Recipe(epochs=1)  # the paper's widths
ALL = "100000%"


class Watched:
    """A matrix that counts the rows that are read, and may forbid it."""

    def __init__(self, rows, forbidden=False):
        self.rows, self.forbidden, self.read = rows, forbidden, 0

    shape = property(lambda self: self.rows.shape)
    dtype = property(lambda self: self.rows.dtype)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        assert not self.forbidden, "these rows must not be read"
        values = self.rows[index]
        self.read += len(values)
        return values


@pytest.fixture
def make_tables(split):
    """Layers of one model, the third one good; `make_tables(noise=..., model=...)`."""

    def make(noise=NOISE, model="m", counts=None):
        counts = counts or {"train": 900, "test": 60}
        made = {}
        for name, count in counts.items():
            parts = [
                split(count, (5,), noise=each, seed=seed, split=name)
                for seed, each in enumerate(noise)
            ]
            made[name] = replace(
                parts[0],
                rows=tuple(part.rows[0] for part in parts),
                features=tuple(Feature(model, layer) for layer in range(len(parts))),
                specs=parts[0].specs * len(parts),
            )
        return made

    return make


@pytest.fixture
def tables(make_tables):
    return make_tables()


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where rows are read, `cost` for each of them."""

    class Fake:
        now, cost = 0.0, 1e-3

        def __call__(self):
            return self.now

    fake, sample = Fake(), Ground.sample

    def slowly(ground, place, size):
        fake.now += fake.cost * size
        return sample(ground, place, size)

    monkeypatch.setattr(budgets.time, "perf_counter", fake)
    monkeypatch.setattr(Ground, "sample", slowly)
    return fake


def only(found):
    (choice,) = found.choices
    return choice


def without_time(found):
    return replace(found, choices=tuple(replace(each, seconds=0) for each in found.choices))


@pytest.mark.parametrize("budget", ["1%", "20%", "100%"])
def test_the_layer_that_tells_the_classes_apart_is_chosen(tables, budget):
    choice = only(select(tables, budget, recipe=LONG))
    assert choice.feature == "m:2"
    assert choice.by == "ridge"
    assert choice.sure > 0.99
    assert choice.rivals == ()
    assert (choice.last, choice.fixed) == ("m:4", "m:2")
    chosen = choice.layers[2]
    assert chosen.ci95[0] <= chosen.accuracy <= chosen.ci95[1]


@pytest.mark.parametrize("score", ["logme", "h-score"])
def test_other_scores_choose_too_and_say_that_nothing_is_known_of_how_surely(tables, score):
    choice = only(select(tables, "4%", score, LONG))
    assert (choice.feature, choice.by, choice.sure) == ("m:2", score, None)
    headed = only(select(tables, ALL, score, TINY))
    assert (headed.feature, headed.by) == ("m:2", f"{score} + head")
    assert headed.sure > 0.9  # the heads' rows tell


def test_equal_seeds_choose_alike_within_a_share_and_others_draw_other_rows(tables):
    found = [select(tables, "0.8%", recipe=LONG, seed=s) for s in (0, 0, 1)]
    one, again, other = map(without_time, found)
    assert one == again
    assert one.choices[0].layers != other.choices[0].layers


def test_a_share_is_kept_and_more_of_it_reads_more(tables):
    shares = (1, 3, 10, 30)
    found = [only(select(tables, f"{share}%", recipe=LONG)) for share in shares]
    assert all(each.share <= share / 100 for each, share in zip(found, shares, strict=True))
    read = [each.rows_read for each in found]
    assert read == sorted(read)
    assert read[0] < read[-1]


def test_a_budget_that_pays_for_no_comparison_takes_the_fixed_depth(tables):
    for budget in ("0.000001%", "0.000001s"):
        found = select(tables, budget, recipe=TINY)
        choice = only(found)
        assert (choice.feature, choice.by, choice.sure) == ("m:2", FIXED, None)
        assert (choice.rows_read, choice.n_train) == (0, 0)
        assert all(layer.accuracy is None and not layer.scores for layer in choice.layers)
        assert "the budget paid for no comparison" in " ".join(found.notes())
        json.dumps(found.to_json(), allow_nan=False)
    deep = select(tables, "0.000001%", recipe=TINY, depths={"m": 7})
    assert only(deep).feature == "m:4"


@pytest.mark.parametrize("seconds", [2, 5, 20])
@pytest.mark.parametrize("cost", [1e-4, 1e-3, 1e-2])
def test_a_time_is_kept_whatever_the_machine(tables, clock, seconds, cost):
    clock.cost = cost
    choice = only(select(tables, f"{seconds}s", recipe=replace(TINY, epochs=100_000)))
    longest = cost * 256  # what one score takes that was begun before anything was measured
    assert choice.seconds <= max(seconds, longest)
    assert choice.feature == "m:2"
    if cost * 256 * 5 < seconds / 2:
        assert choice.by == "ridge"


def test_heads_that_time_runs_out_for_are_given_up(make_tables, clock, monkeypatch):
    tables = make_tables((0.8, 0.8, 0.8), counts={"train": 900})

    def endless(jobs, recipe, on_epoch, **settings):
        yield from ()
        for number in range(100):
            clock.now += 1
            on_epoch(number)
        raise AssertionError("nobody has stopped it")

    monkeypatch.setattr("lefcache.study.halving.train_all", endless)
    clock.cost = 1e-6
    choice = only(select(tables, "5s", recipe=replace(TINY, epochs=50)))
    assert (choice.by, choice.n_head) == ("ridge", 0)
    assert choice.seconds < 7


@pytest.mark.parametrize("own", [False, True])
def test_layers_that_ridge_cannot_tell_apart_get_a_head(make_tables, own):
    counts = {"train": 900} | ({"validation": 100} if own else {})
    tables = make_tables((2.0, 2.0, 9.0), counts=counts)
    choice = only(select(tables, ALL, recipe=TINY))
    assert choice.by == "ridge + head"
    assert choice.feature in ("m:0", "m:1")
    heads = [layer.head_accuracy is not None for layer in choice.layers]
    assert heads == [True, True, False]
    assert choice.n_head == (100 if own else 90)
    assert choice.n_head_train == (900 if own else 810)
    assert choice.layers[0].n_judged == (100 if own else 810)
    again = only(select(tables, ALL, recipe=TINY))
    assert replace(again, seconds=0) == replace(choice, seconds=0)


@pytest.mark.parametrize("own", [False, True])
def test_the_test_is_not_read(make_tables, own):
    tables = make_tables(counts={"train": 900, "test": 60} | ({"validation": 50} if own else {}))
    test = tables["test"]
    tables["test"] = replace(test, rows=tuple(Watched(each, forbidden=True) for each in test.rows))
    found = select(tables, ALL, recipe=TINY)
    assert only(found).feature == "m:2"
    assert found.selected_by == ("validation split" if own else "leave-one-out")


def test_the_rows_read_are_counted_and_those_of_the_smaller_samples_of_the_studies(tables):
    train = tables["train"]
    watched = [Watched(each) for each in train.rows]
    tables["train"] = replace(train, rows=tuple(watched))
    choice = only(select(tables, "3%", recipe=LONG))
    assert choice.rows_read == sum(each.read for each in watched)
    learned, _ = training_parts(train)
    for layer in choice.layers:
        assert layer.n_train == len(nested(learned, layer.n_train))


def test_a_choice_may_be_for_fewer_rows(tables):
    found = select(tables, ALL, recipe=TINY, n_train=300)
    assert (found.n_train, only(found).n_train) == (300, 300)
    assert found.n_val == 90  # the rows that a sweep of heads carves, whatever n_train is
    with pytest.raises(CorpusError, match="--n-train 5000"):
        select(tables, ALL, recipe=TINY, n_train=5000)


def test_each_model_has_its_own_choice(make_tables):
    one, two = make_tables(), make_tables((0.8, 5.0), model="n")
    both = {
        name: replace(
            one[name],
            features=one[name].features + two[name].features,
            rows=one[name].rows + two[name].rows,
            specs=one[name].specs + two[name].specs,
        )
        for name in one
    }
    found = select(both, "50%", recipe=LONG)
    assert [each.feature for each in found.choices] == ["m:2", "n:0"]
    assert [len(each.layers) for each in found.choices] == [5, 2]


def test_few_rows_and_a_single_layer_are_enough(make_tables):
    few = select(make_tables(counts={"train": 24}), ALL, recipe=TINY)
    assert only(few).feature == "m:2"
    assert any("only" in line for line in few.notes())
    alone = only(select(make_tables((0.8,)), ALL, recipe=TINY))
    assert (alone.feature, alone.sure) == ("m:0", 1)


def test_its_json_has_what_others_rely_on(tables):
    found = select(tables, ALL, recipe=TINY)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    (choice,) = document["choices"]
    assert document["budget"] == {"seconds": None, "share": 1000}
    assert (choice["feature"], choice["regret"]) == ("m:2", None)
    assert [layer["feature"] for layer in choice["layers"]] == [f"m:{n}" for n in range(5)]
    assert all(set(layer["scores"]) == set(SCORES) for layer in choice["layers"])


# Against a finished sweep.


def test_a_sweep_of_heads_that_was_shown_the_test_says_what_the_choice_loses(tables, tmp_path):
    plain = select(tables, ALL, recipe=TINY)
    sweep(tables, results=tmp_path, show_test=True)
    swept = sweep(tables, "mlp", TINY, seeds=2, show_test=True, results=tmp_path)
    found = select(tables, ALL, recipe=TINY, results=tmp_path)
    assert without_time(plain) == without_time(
        replace(found, choices=(replace(only(found), regret=None),), id="")
    )
    regret = only(found).regret
    assert (regret.id, regret.probe, regret.by, regret.seeds) == (swept.id, "mlp", "test", 2)
    assert (regret.n, regret.layers) == (60, 5)
    truth = {row.feature: row.test_accuracy for row in swept.rows}
    assert truth[regret.best] == max(truth.values())
    names = {each.name: each for each in regret.losses}
    assert list(names) == ["chosen", "last", FIXED]
    assert names["chosen"].feature == "m:2"
    for each in regret.losses:
        points = 100 * (truth[regret.best] - truth[each.feature])
        assert each.points == pytest.approx(points)
        assert each.ci95[0] <= each.points <= each.ci95[1]
    assert names["last"].points > 5
    rho = {each.score: each.spearman for each in regret.agreements}
    assert set(rho) == set(SCORES)
    assert rho["ridge"] > 0.5
    json.dumps(found.to_json(), allow_nan=False)


def test_the_agreement_of_a_score_is_over_the_layers_of_both():
    truth = {"m:0": 0.1, "m:1": 0.2, "m:2": 0.3}
    risen = {"m:0": 5.0, "m:1": 6.0, "m:2": 9.0}
    assert agreement("ridge", risen | {"m:3": 0.0}, truth).spearman == pytest.approx(1)
    assert agreement("anisotropy", risen, truth).spearman == pytest.approx(-1)
    assert agreement("ridge", {"m:0": 5.0, "m:1": 6.0}, truth).spearman is None
    assert agreement("ridge", dict.fromkeys(truth, 1.0), truth).spearman is None


def test_a_sweep_whose_test_is_hidden_is_asked_about_validation(tables, tmp_path):
    swept = sweep(tables, "mlp", TINY, results=tmp_path)
    regret = only(select(tables, ALL, recipe=TINY, results=tmp_path)).regret
    assert (regret.by, regret.n, regret.best) == ("validation", swept.n_val, swept.best)


def test_only_a_sweep_of_the_same_rows_and_layers_counts(tables, tmp_path, make_tables):
    sweep(tables, results=tmp_path, n_train=300)
    sweep(tables, results=tmp_path, protocol="paper")
    assert only(select(tables, ALL, recipe=TINY, results=tmp_path)).regret is None
    fewer = select(tables, ALL, recipe=TINY, results=tmp_path, n_train=300)
    assert only(fewer).regret.probe == "ridge"
    other = make_tables(counts={"train": 899, "test": 60})
    assert only(select(other, ALL, recipe=TINY, results=tmp_path, n_train=300)).regret is None


# What it is made of.


@given(st.integers(1, 80), st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 4))
def test_rounds_leave_layers_behind_and_add_rows(layers, size, more, rate):
    most = size + more
    plan = rounds(layers, size, most, rate)
    assert plan[0] == (layers, size)
    for (many, rows), (fewer, grown) in pairwise(plan):
        assert fewer == max(2, -(-many // rate)) < many
        assert grown == min(rate * rows, most) > rows
    assert rate == 1 or plan[-1][0] <= 2 or plan[-1][1] == most
    assert rate > 1 or len(plan) == 1


def paying(tables, first):
    """A budget of so many times what all layers on the fewest rows take."""
    (ground,) = grounds_of(tables, None, 0, Setup(WIDE))
    work = ground.score_work(range(len(ground)), ground.smallest)
    return Budget(share=first * work / ground.sweep_work())


@pytest.mark.parametrize(("first", "least", "most"), [(1.01, 256, 256), (1.5, 300, 809)])
def test_few_layers_are_judged_at_once_on_what_the_budget_pays(tables, first, least, most):
    choice = only(select(tables, paying(tables, first), recipe=WIDE))
    (size,) = {layer.n_train for layer in choice.layers}
    assert least <= size <= most
    assert choice.by == "ridge"


def test_many_layers_are_left_behind_round_after_round(make_tables):
    noise = [4.0] * 40
    noise[22] = 0.5
    tables = make_tables(noise, counts={"train": 9000})
    choice = only(select(tables, paying(tables, 3), recipe=WIDE))
    assert choice.feature == "m:22"
    sizes = [layer.n_train for layer in choice.layers]
    assert sorted(map(sizes.count, {*sizes})) == [1, 2, 7, 30]  # 40, 10, 3, 2
    assert choice.layers[22].n_train == choice.n_train == max(sizes) > 10 * min(sizes)


def test_wins_are_those_of_a_plain_bootstrap(monkeypatch):
    draw = np.random.default_rng(0)
    right = draw.random((4, 80)) < np.array([[0.5], [0.6], [0.6], [0.3]])
    plain = np.zeros((2, 4))
    for _ in range(4000):
        sums = right[:, draw.integers(0, 80, 80)].sum(axis=1)
        order = np.argsort(-sums, kind="stable")
        for row, among in enumerate((1, 2)):
            plain[row, order[:among]] += 1 / 4000
    for row, among in enumerate((1, 2)):
        np.testing.assert_allclose(wins([right], 0, among), plain[row], atol=0.05)
    monkeypatch.setattr(halving, "GROUPS", 40)  # of two rows each
    for row, among in enumerate((1, 2)):
        np.testing.assert_allclose(wins([right], 0, among), plain[row], atol=0.1)
    one, other = np.eye(2, dtype=bool), np.array([[False] * 50, [True] * 50])
    assert wins([one, other], 0)[1] > 0.7  # each counts alike, however many rows it has
    assert wins([np.ones((3, 9), bool)], 0).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5s", Budget(seconds=5)),
        ("0.5 s", Budget(seconds=0.5)),
        ("2min", Budget(seconds=120)),
        ("10%", Budget(share=0.1)),
        (".5%", Budget(share=0.005)),
    ],
)
def test_a_budget_is_a_time_or_a_share(text, budget):
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "0%", "0.0s", "1e3s", "5 parsecs", "1.2.3s"])
def test_what_is_no_budget_says_what_is_one(text):
    with pytest.raises(RecipeError, match="give a time such as 5s, or a share such as 10%"):
        Budget.parse(text)


def test_a_misspelt_score_is_told_what_it_is_near_to(tables):
    with pytest.raises(RecipeError, match="did you mean logme"):
        select(tables, score="logmee")


def test_the_nearest_layer_to_a_depth():
    features = [Feature.parse(f"m:{layer}") for layer in ("0", "1", "2", "3", "4", "1~2", "last")]
    assert str(nearest_to(features, 0.6)) == "m:2"
    assert str(nearest_to(features, 0.6, 6)) == "m:4"
    assert str(nearest_to(features[-1:], 0.6, 6)) == "m:last"


def test_what_was_chosen_is_kept_and_replaced_by_the_next_choice_of_the_same(tables, tmp_path):
    found = select(tables, "2%", recipe=LONG, results=tmp_path)
    kept = store.find(tmp_path, "tiny", found.id)
    assert kept.kind == "select"
    assert kept.payload["result"] == json.loads(json.dumps(found.to_json()))
    assert kept.payload["key"]["budget"] == "2%"
    assert select(tables, "2%", recipe=LONG, results=tmp_path).id == found.id
    others = [
        select(tables, "3%", recipe=LONG, results=tmp_path),
        select(tables, "2%", "logme", LONG, results=tmp_path),
        select(tables, "2%", recipe=LONG, seed=1, results=tmp_path),
        select(tables, "2%", recipe=LONG, n_train=300, results=tmp_path),
    ]
    assert len({found.id, *(each.id for each in others)}) == 5
    assert select(tables, "2%", recipe=LONG).id == ""


def test_a_disk_that_takes_nothing_takes_no_choice_away(tables, tmp_path):
    (tmp_path / "tiny").write_text("no folder")
    found = select(tables, "2%", recipe=LONG, results=tmp_path)
    assert only(found).feature == "m:2"
    assert found.id == ""
    assert any("not kept" in line for line in found.notes())


@pytest.mark.parametrize("words", ["2%", "0.5%", "7%", "120%", "5s", "90s"])
def test_a_budget_is_written_as_it_is_read(words):
    assert str(Budget.parse(words)) == words


def test_the_last_of_some_layers_is_not_called_the_model_s(tables):
    found = only(select(tables, "2%", recipe=LONG, depths={"m": 8}))
    assert list(found.marks) == ["chosen", "deepest here", FIXED]
    assert list(only(select(tables, "2%", recipe=LONG, depths={"m": 4})).marks)[1] == "last"


def test_one_layer_alone_is_said_to_be_no_choice(make_tables):
    found = select(make_tables(noise=(1.0,)), "2%", recipe=LONG)
    (line,) = found.notes()
    assert line.startswith("m:0 is the only layer of m here: there was nothing to choose")
