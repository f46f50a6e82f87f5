"""Heads that vote: each is trained alone, on its own feature."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch

from lefcache.recipe import Recipe
from lefcache.train.head import Vote
from lefcache.train.members import Fitted, Member
from lefcache.train.scoring import logits

Fit = Callable[[Recipe, Sequence[Member]], Iterator[Fitted]]


def fit_votes(
    fit: Fit, recipe: Recipe, voters: Sequence[Member], where: torch.device
) -> Iterator[Fitted]:
    """Every vote, each of its K heads by `fit` and at its own best epoch; all train as equals."""
    features = range(len(voters[0].learned.table.features))
    alone = [
        Member(voter.learned.alone(place), voter.chosen.alone(place), voter.seed)
        for voter in voters
        for place in features
    ]
    fitted = fit(recipe.alone(), alone)
    for voter in voters:
        yield _vote(recipe, voter, [*islice(fitted, len(features))], where)


def _vote(recipe: Recipe, voter: Member, fitted: Sequence[Fitted], where: torch.device) -> Fitted:
    table, chosen = voter.learned.table, voter.chosen
    vote = Vote(table.widths, len(table.classes), recipe).to(where)
    for place, one in enumerate(fitted):
        vote.members[place] = one.head
    return Fitted(
        head=vote,
        best_epoch=max(one.best_epoch for one in fitted),
        history=tuple(epoch for one in fitted for epoch in one.history),
        correct=logits(vote, chosen.table)[chosen.index].argmax(axis=1) == chosen.labels,
        seconds=sum(one.seconds for one in fitted),
    )
