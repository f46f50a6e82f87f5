import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from lefcache.dtypes import dtype_of
from lefcache.errors import CorpusError, NotFiniteError, RecipeError
from lefcache.feature import Feature
from lefcache.recipe import Recipe
from lefcache.rows import Extent, Rows
from lefcache.train import fit_ridge, logits, loop, objective, scoring, train
from lefcache.train.draws import Masks
from lefcache.train.head import new_head
from lefcache.train.members import whole
from lefcache.train.protocol import training_parts

TINY = Recipe(width=16, hidden=(16, 8), lr=3e-3, batch=10, epochs=6)


def weights(head):
    return torch.cat([value.flatten() for value in head.state_dict().values()])


@pytest.mark.parametrize("op", ["concat", "hadamard-res"])
def test_it_learns_what_can_be_learned(split, op):
    table, test = split(120, (6, 9), classes=3), split(30, (6, 9), split="test", classes=3)
    head, result = train(table, replace(TINY, op=op, epochs=25), test=test)
    assert result.test_accuracy > 0.9
    assert result.test_macro_f1 > 0.9
    assert (result.n_train, result.n_val, result.n_test) == (108, 12, 30)
    assert not head.training


def test_two_runs_are_equal_to_the_bit(split):
    table, test = split(60, (6, 9), noise=2), split(20, (6, 9), split="test", noise=2)
    runs = [train(table, TINY, test=test, seed=3) for _ in range(2)]
    assert torch.equal(*(weights(head) for head, _ in runs))
    assert runs[0][1].history == runs[1][1].history
    np.testing.assert_array_equal(*(result.probabilities for _, result in runs))


def test_another_seed_is_another_run(split):
    heads = [train(split(60), TINY, seed=seed)[0] for seed in (0, 1)]
    assert not torch.equal(*map(weights, heads))


def test_the_callers_random_numbers_are_left_alone(split):
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002  the legacy state is what must not move
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    train(split(40), TINY)
    assert torch.equal(torch.rand(3), expected[0])
    np.testing.assert_array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_the_callers_random_numbers_do_not_matter(split):
    heads = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        heads.append(train(split(40), TINY)[0])
    assert torch.equal(*map(weights, heads))


def test_the_best_epoch_is_restored(split):
    validation, seen = split(30, split="validation", noise=2), []
    table, recipe = split(40, noise=2), replace(TINY, epochs=15, lr=2e-2)
    head, result = train(table, recipe, validation=validation, on_epoch=seen.append)
    assert tuple(seen) == result.history
    assert [epoch.number for epoch in seen] == [*range(1, 16)]
    best = min(seen, key=lambda epoch: (-epoch.val_accuracy, epoch.val_loss))
    assert result.best_epoch == best.number < 15
    assert result.val_accuracy == best.val_accuracy
    right = logits(head, validation).argmax(axis=1) == validation.labels
    np.testing.assert_array_equal(right, result.val_correct)
    assert right.mean() == best.val_accuracy


def test_stopping_at_the_best_epoch_gives_the_same_head(split):
    tables = {"table": split(40, noise=2), "validation": split(30, split="validation", noise=2)}
    recipe = replace(TINY, epochs=15, lr=2e-2)
    head, result = train(**tables, recipe=recipe)
    shorter, _ = train(**tables, recipe=replace(recipe, epochs=result.best_epoch))
    assert torch.equal(weights(head), weights(shorter))


def test_ties_go_to_the_lower_log_loss(split):
    _, result = train(split(60, noise=0.1), replace(TINY, epochs=20))
    perfect = [epoch for epoch in result.history if epoch.val_accuracy == 1]
    assert len(perfect) > 1
    assert result.best_epoch == min(perfect, key=lambda epoch: epoch.val_loss).number


def test_float16_is_widened_exactly(split):
    table = split(40)
    wide = replace(table, rows=tuple(rows.astype(np.float32) for rows in table.rows))
    heads = [train(each, TINY)[0] for each in (table, wide)]
    assert torch.equal(*map(weights, heads))


def test_training_is_what_a_plain_loop_does(split):
    """Two epochs against torch written by hand, with an Adam that is not fused."""
    table, validation = split(30), split(10, split="validation")
    head, result = train(table, replace(TINY, epochs=2), validation=validation, seed=4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        plain = new_head(table.widths, 2, TINY).train()
    masks = Masks(plain, [4], None, torch.device("cpu"))
    masks.measure(lambda: plain(torch.zeros(2, *table.widths)))
    adam = torch.optim.Adam(plain.parameters(), lr=TINY.lr, fused=False)
    for epoch in (1, 2):
        order = np.random.default_rng((4, epoch)).permutation(30)
        for step, rows in enumerate(np.split(order, 3), start=3 * (epoch - 1)):
            adam.zero_grad()
            masks.use(masks.draw(step, len(rows)))
            values = plain(torch.from_numpy(table.rows[0][rows]).float())
            labels = torch.from_numpy(table.labels[rows]).long()
            torch.nn.functional.cross_entropy(values, labels).backward()
            adam.step()
    assert result.best_epoch == 2
    torch.testing.assert_close(weights(head), weights(plain))


def test_predictions_cover_all_rows_and_scores_those_with_labels(split):
    test = split(20, split="test")
    labels = test.labels.copy()
    labels[:5] = -1
    head, result = train(split(60), TINY, test=replace(test, labels=labels))
    assert (result.n_test, result.dropped) == (15, 5)
    assert result.predictions.shape == (20,)
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(result.predictions, logits(head, test).argmax(axis=1))
    assert result.test_accuracy == np.mean(result.predictions[5:] == labels[5:])


def test_a_vote_is_of_heads_that_were_trained_alone(split):
    tables = {name: split(60, (6, 9), noise=2, split=name) for name in ("train", "validation")}
    test, seen = split(40, (6, 9), noise=2, split="test"), []
    vote, result = train(
        tables["train"],
        replace(TINY, op="vote"),
        validation=tables["validation"],
        test=test,
        seed=3,
        on_epoch=seen.append,
    )
    members = [
        train(
            tables["train"].alone(place), TINY, validation=tables["validation"].alone(place), seed=3
        )
        for place in (0, 1)
    ]
    for mine, (head, _) in zip(vote.members, members, strict=True):
        assert torch.equal(weights(mine), weights(head))
    assert result.best_epoch == max(single.best_epoch for _, single in members)
    assert result.history == tuple(seen) == members[0][1].history + members[1][1].history
    shares = [
        torch.from_numpy(logits(head, test.alone(k))).log_softmax(1)
        for k, (head, _) in enumerate(members)
    ]
    expected = torch.stack(shares).mean(0).softmax(1).numpy()
    np.testing.assert_allclose(result.probabilities, expected, rtol=1e-5)
    right = logits(vote, tables["validation"]).argmax(axis=1) == tables["validation"].labels
    np.testing.assert_array_equal(result.val_correct, right)
    assert result.val_accuracy == right.mean()
    assert "of 6>" in repr(result)


def test_a_vote_carves_the_rows_that_a_single_head_does(split):
    table = split(60, (6, 9), noise=2)
    vote, result = train(table, replace(TINY, op="vote"))
    single, alone = train(table.alone(1), TINY)
    assert torch.equal(weights(vote.members[1]), weights(single))
    assert (result.n_train, result.n_val) == (alone.n_train, alone.n_val)


def test_a_mix_learns_which_layer_counts(split):
    table = split(80, (6,), noise=0.1)
    noise = np.random.default_rng(1).standard_normal((80, 6)).astype(np.float16)
    features = (Feature("m", 1), Feature("m", 2), Feature("m", 3))
    layers = replace(
        table, features=features, rows=(noise, *table.rows, noise[::-1]), specs=table.specs * 3
    )
    head, result = train(layers, replace(TINY, op="mix", epochs=30))
    assert result.layer_weights == head.layer_weights
    assert sum(result.layer_weights) == pytest.approx(1)
    assert result.layer_weights[1] > 0.5
    _, other = train(table, TINY)
    assert other.layer_weights is None


def test_layers_of_two_models_are_not_mixed(split):
    table = replace(split(40, (6, 6)), features=(Feature("a", 1), Feature("b", 1)))
    with pytest.raises(RecipeError, match="these are of a and b"):
        train(table, replace(TINY, op="mix"))


def test_the_released_code_is_settled_by_the_number_of_models(split):
    recipe = Recipe(preset="released", hidden=(8, 4), epochs=1)
    for count, rates in ((2, (0.5, 0.3)), (3, (0.5, 0.5))):
        head, _ = train(split(40, (6,) * count), recipe)
        assert head.recipe.dropout == rates


def test_without_a_test_there_are_no_test_figures(split):
    _, result = train(split(40), TINY)
    assert result.n_test == 0
    assert (result.test_accuracy, result.test_macro_f1, result.predictions) == (None, None, None)


def test_rows_may_stay_in_their_files(split, tmp_path):
    table = split(40)
    (rows,) = table.rows
    rows[:25].tofile(tmp_path / "0")
    rows[25:].tofile(tmp_path / "1")
    extents = [Extent(str(tmp_path / "0"), 0, 25), Extent(str(tmp_path / "1"), 0, 15)]
    stored = replace(table, rows=(Rows(extents, rows.dtype, rows.shape[1]),))
    heads = [train(each, TINY, test=each)[0] for each in (table, stored)]
    assert torch.equal(*map(weights, heads))
    paths = [fit_ridge(each.rows[0], each.labels, 2) for each in (table, stored)]
    np.testing.assert_array_equal(paths[0].coef, paths[1].coef)


def test_bfloat16_stays_narrow_in_memory_and_is_widened_exactly(split, tmp_path):
    table = split(40, dtype=np.float32)
    narrow = table.rows[0].astype(dtype_of("bfloat16"))
    narrow.tofile(tmp_path / "0")
    rows = Rows([Extent(str(tmp_path / "0"), 0, 40)], narrow.dtype, narrow.shape[1])
    loaded = whole(rows)
    assert loaded.dtype == torch.bfloat16
    assert loaded.element_size() * loaded.nelement() == rows.nbytes // 2
    assert torch.equal(loaded.float(), torch.from_numpy(narrow.astype(np.float32)))
    stored, wide = (replace(table, rows=(each,)) for each in (rows, narrow.astype(np.float32)))
    heads = [train(each, TINY, test=each)[0] for each in (stored, wide)]
    assert torch.equal(*map(weights, heads))
    np.testing.assert_array_equal(logits(heads[0], stored), logits(heads[1], wide))
    paths = [fit_ridge(each.rows[0], each.labels, 2) for each in (stored, wide)]
    np.testing.assert_array_equal(paths[0].coef, paths[1].coef)


def test_large_splits_are_judged_in_pieces(split, monkeypatch):
    table, test = split(60), split(20, split="test")
    at_once = train(table, TINY, test=test)[1]
    for module in (loop, scoring):
        monkeypatch.setattr(module, "EVAL_ROWS", 7)
    pieces = train(table, TINY, test=test)[1]
    np.testing.assert_allclose(pieces.probabilities, at_once.probabilities, atol=1e-6)


def test_infinite_rows_stop_the_run_and_say_why(split):
    table = split(40)
    table.rows[0][0, 0] = np.inf
    with pytest.raises(NotFiniteError, match=r"after epoch 1 on m:1, seed 0: lower lr .*0.003"):
        train(table, TINY)


def test_a_test_label_that_train_never_saw_is_named_before_training(split):
    test = split(20, split="test", classes=3)
    table = replace(split(40, classes=3), labels=np.arange(40, dtype=np.int32) % 2)
    with pytest.raises(CorpusError, match="label 'c' of test"):
        train(table, TINY, test=test, on_epoch=lambda epoch: pytest.fail("it trained"))


def test_an_unlabelled_test_is_refused(split):
    test = replace(split(20, split="test"), labels=None)
    with pytest.raises(CorpusError, match="no labels"):
        train(split(40), TINY, test=test)


def test_devices_and_seeds_that_do_not_exist_are_refused(split):
    with pytest.raises(RecipeError, match="no device 'tpux'"):
        train(split(40), TINY, device="tpux")
    with pytest.raises(RecipeError, match="seed is -1"):
        train(split(40), TINY, seed=-1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(split):
    with pytest.raises(RecipeError, match="torch sees no GPU here"):
        train(split(40), TINY, device="cuda")


def test_patience_ends_a_run_that_gets_no_better(split):
    tables = {"table": split(40, noise=2), "validation": split(30, split="validation", noise=2)}
    recipe = replace(TINY, epochs=30, lr=1e-1)
    _, whole = train(**tables, recipe=recipe)
    _, result = train(**tables, recipe=replace(recipe, patience=4))
    seen = len(result.history)
    assert result.history == whole.history[:seen]
    assert seen == result.best_epoch + 4 < 30
    best = min(result.history, key=lambda epoch: (-epoch.val_accuracy, epoch.val_loss))
    assert result.best_epoch == best.number
    assert f"of {seen}>" in repr(result)


def test_inputs_are_standardised_by_the_rows_that_are_learned_from(split, tmp_path):
    table, validation = split(60, (6, 9)), split(30, (6, 9), split="validation")
    validation.rows[0][:] = validation.rows[1][:] = 100  # not to be looked at
    head, _ = train(table, replace(TINY, standardise=True, epochs=1), validation=validation)
    for layer, rows in zip(head.inputs, table.rows, strict=True):
        exact = rows.astype(np.float64)
        np.testing.assert_allclose(layer.mean.numpy(), exact.mean(axis=0), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(layer.scale.numpy(), 1 / exact.std(axis=0), rtol=1e-6)
    scaled = tuple((rows - rows.mean(axis=0)) / rows.std(axis=0) for rows in map(wide, table.rows))
    by_hand = replace(table, rows=scaled)
    ours, _ = train(table, replace(TINY, standardise=True), validation=table)
    plain, _ = train(by_hand, TINY, validation=by_hand)
    np.testing.assert_allclose(logits(ours, table), logits(plain, by_hand), atol=1e-4)


def wide(rows):
    return rows.astype(np.float32)


def test_carved_rows_are_not_looked_at_either(split):
    table = split(60)
    head, result = train(table, replace(TINY, standardise=True, epochs=1))
    learned, _ = training_parts(table)
    assert result.n_train == len(learned) < 60
    mean = table.rows[0][learned.index].astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(head.inputs[0].mean.numpy(), mean, rtol=1e-6, atol=1e-7)


@pytest.fixture
def any_bfloat16(monkeypatch):
    """Products in bfloat16 are let through, imitated or not: small ones are quick either way."""
    monkeypatch.setattr(objective, "has_bfloat16", lambda where: True)


@pytest.mark.usefixtures("any_bfloat16")
def test_narrow_products_give_float32_weights_that_are_nearly_the_same(split):
    table = split(80, (6, 9))
    exact, _ = train(table, TINY)
    narrow, result = train(table, replace(TINY, precision="bfloat16"))
    assert all(value.dtype == torch.float32 for value in narrow.state_dict().values())
    assert not torch.equal(weights(exact), weights(narrow))
    assert torch.nn.functional.cosine_similarity(weights(exact), weights(narrow), dim=0) > 0.99
    assert result.val_accuracy == 1


def test_products_that_the_device_would_imitate_are_refused(split, monkeypatch):
    monkeypatch.setattr(objective, "has_bfloat16", lambda where: False)
    with pytest.raises(RecipeError, match=r"no bfloat16 of its own.*leave out precision"):
        train(split(20), replace(TINY, precision="bfloat16"))
    train(split(20), replace(TINY, epochs=1))


def test_balanced_classes_find_the_rare_one(split):
    table, test = split(300, noise=3), split(300, noise=3, split="test")
    labels = np.where(np.arange(300) < 30, table.labels, np.where(table.labels == 1, -1, 0))
    rare = replace(table, labels=labels.astype(np.int32))  # 15 rows of the second class, 150 others
    found = []
    for counted in ("none", "balanced"):
        recipe = replace(TINY, class_weights=counted)
        _, result = train(rare, recipe, validation=table, test=test)
        found.append(int((result.predictions == 1).sum()))
    assert 2 * found[0] < found[1]


@pytest.mark.parametrize(
    "change",
    [
        {"activation": "gelu"},
        {"optimiser": "adamw", "weight_decay": 0.1},
        {"optimiser": "sgd"},
        {"schedule": "cosine"},
        {"schedule": "warmup-cosine"},
        {"label_smoothing": 0.1},
        {"class_weights": "balanced"},
        {"standardise": True},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("any_bfloat16")
def test_every_setting_of_training_makes_another_head(split, change):
    labels = np.array([0, 0, 1] * 20, np.int32)
    table = replace(split(60), labels=labels)
    recipe = replace(TINY, epochs=2)
    plain, _ = train(table, recipe, validation=table)
    first, second = (train(table, replace(recipe, **change), validation=table)[0] for _ in (0, 1))
    names = plain.state_dict().keys()
    assert any(not torch.equal(plain.state_dict()[n], first.state_dict()[n]) for n in names)
    assert torch.equal(weights(first), weights(second))


def test_training_never_imports_a_language_model():
    import subprocess
    import sys

    blocked = (
        "import sys; sys.modules['transformers'] = None; import lefcache.train, lefcache.study"
    )
    subprocess.run([sys.executable, "-c", blocked], check=True)


def test_a_result_is_shown_in_one_line(split):
    _, trained = train(split(40), TINY, test=split(10, split="test"))
    assert repr(trained).count("\n") == 0
    assert re.fullmatch(
        r"<Trained: [\d.]+% of \d+ validation rows?, [\d.]+% of 10 test rows, at epoch \d+ of \d+>",
        repr(trained),
    )
