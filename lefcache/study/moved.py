"""Whole heads, trained on one corpus and used on another that has the same classes."""

import re
from collections.abc import Sequence

import numpy as np

from lefcache.study.crossing import Crossing, Right, otherwise, priced
from lefcache.study.transferred import OTHER_CLASSES, Figures, HeadMoved
from lefcache.train.protocol import labelled
from lefcache.train.stats import accuracy_interval

SPACES = re.compile(r"[\s_-]+")


def same_classes(source: Sequence[str], target: Sequence[str]) -> dict[str, str] | None:
    """Each class of a source by the target's name of it; None where they are not the same ones.

    Names are the same if they differ in case, spaces, dashes and underscores only: nothing else is
    guessed.
    """
    theirs = {_plain(name): name for name in target}
    found = {name: theirs[plain] for name in source if (plain := _plain(name)) in theirs}
    alike = len(set(found.values())) == len(found) == len(source) == len(target)
    return found if alike else None


def _plain(name: str) -> str:
    return SPACES.sub(" ", name.strip().casefold())


def head_moved(crossing: Crossing, source: str, target: str, own: Right) -> HeadMoved:
    """The heads of a source on the target's test, or why there are none."""
    train, test = crossing.corpora[source]["train"], crossing.corpora[target]["test"]
    classes = same_classes(train.classes, test.classes)
    why_not = OTHER_CLASSES if classes is None else otherwise(train, test)
    if classes is None or why_not:
        return HeadMoved(source, target, why_not)
    scored, learned = labelled(test), labelled(train)
    new = ~np.isin(test.texts[scored.index], train.texts[learned.index])
    n_known = int((~new).sum())
    if not new.any():
        return HeadMoved(source, target, "all its test texts are in that train", classes, n_known)
    code = np.array([test.classes.index(classes[name]) for name in train.classes], np.int32)
    mine = own[:, new]
    layers = {crossing.chosen(name).feature: name for name in (target, source)}
    ordered = sorted(layers, key=lambda feature: layers[feature] != source)
    on = []
    for feature, said in crossing.said(source, target, ordered).items():
        right = (code[said][:, scored.index] == scored.labels)[:, new]
        figures = priced(mine, right)
        figures |= {"own_accuracy": float(mine.mean()), "own_ci95": accuracy_interval(mine)}
        on.append(Figures(feature, layers[feature], right.shape[1], **figures))
    return HeadMoved(source, target, "", classes, n_known, tuple(on))
