"""The trained part: project each feature, fuse, classify."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lefcache.errors import RecipeError
from lefcache.files import path_of
from lefcache.presets import VOTE
from lefcache.recipe import Recipe
from lefcache.train.card import Card
from lefcache.train.fusion import Mix, Operator, fused_width, operator_of
from lefcache.train.inputs import Standardise
from lefcache.train.layers import ACTIVATIONS, Dropout, Linear
from lefcache.train.projection import projection, projections
from lefcache.train.saving import UNREADABLE, read, unreadable, write
from lefcache.travel import PREFIX, fetch, head_folder


class Head(nn.Module):
    """K features in, C logits out, as the method's paper describes it (arXiv 2504.05764).

    `inputs[k]` standardises a feature, or leaves it as it is, `project[k]` is what the recipe's
    preset does to it, e' = ReLU(W e + b) in the paper, `fuse` the recipe's operator, `classify`
    linear layers with ReLU and dropout between them. The result is logits: no softmax before
    cross-entropy. A head that `train` made has a `card`, which says what its features and classes
    are; without one it is a module like any other and cannot be saved. `new_head` makes the head of
    any recipe.

    Features may be (..., B, D_k): with parameters that have M in front, M heads are computed.

    Args:
        widths: D_k of each feature, K of them.
        classes: C.
        recipe: op, preset, width, hidden, dropout, activation and standardise.
    """

    card: Card | None = None

    def __init__(self, widths: Sequence[int], classes: int, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe.settled(len(widths))
        self._build(widths, classes)

    def _build(self, widths: Sequence[int], classes: int) -> None:
        recipe = self.recipe
        self.inputs = nn.ModuleList(
            Standardise(width) if recipe.standardise else nn.Identity() for width in widths
        )
        made, projected = projections(widths, recipe)
        self.project = nn.ModuleList(made)
        self.fuse = operator_of(recipe, projected)
        fused = _width_of(self.fuse, projected)
        if isinstance(self.fuse, Mix) and recipe.preset == "paper":
            self.fuse = nn.Sequential(self.fuse, projection(fused, recipe))
            fused = recipe.width
        if recipe.residual:
            fused += sum(widths if recipe.preset == "released" else projected)
        self.classify = _classifier(fused, classes, recipe)

    def forward(self, *features: Tensor) -> Tensor:
        """(..., B, D_k) for each of the K features to logits (..., B, C)."""
        read = [layer(each) for layer, each in zip(self.inputs, features, strict=True)]
        projected = [layer(each) for layer, each in zip(self.project, read, strict=True)]
        fused = self.fuse(projected)
        if self.recipe.residual:
            # Nothing is added up: the inputs stand beside the operator's output.
            beside = read if self.recipe.preset == "released" else projected
            fused = torch.cat([*beside, fused], dim=-1)
        logits: Tensor = self.classify(fused)
        return logits

    @property
    def layer_weights(self) -> tuple[float, ...] | None:
        """What each of the K layers counts for, together 1, in a `mix`; None in other heads."""
        for each in self.modules():
            if isinstance(each, Mix):
                return tuple(each.shares.detach().double().tolist())
        return None

    def save(self, folder: str | Path) -> Path:
        """Write `head-<digest>.safetensors` and `head.json` to a folder, replacing an older head.

        README.md beside them is a model card, if no README.md of your own is there. A kill leaves
        the older head or this one, never a part of each, nor a card of another. Raises what
        `check_destination` does, and RecipeError for a head that has no card or whose operator is
        a function of your own, which no file can hold.
        """
        if self.card is None:
            raise RecipeError("only a head that `train` made knows its features: save that one")
        return write(path_of(folder), self.card, self.state_dict())

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, licence: str = "", **options: Any
    ) -> str:
        """Upload the head with its model card to the Hugging Face hub, in one commit.

        Nothing of this machine goes along: a model that was a folder is said to be one, and no
        more. A README.md there that is somebody's own work stays. `lef predict hub:owner/name`
        and `from_pretrained` use what is there.

        Args:
            repo_id: `owner/name`, which is made if it is not there.
            private: whether a new one is seen by its owner alone; None: as the account's rule is.
            licence: of the head's own weights, as the hub spells it (`mit`), for the model card.
            **options: `token`, `branch`, `commit_message` and `create_pr` of huggingface_hub.

        Returns the address of the commit. Raises RecipeError as `save` does, and StorageError for
        what the hub refuses.
        """
        from lefcache.train.pushed import push

        return push(self, repo_id, licence, private=private, **options)

    @classmethod
    def from_pretrained(
        cls, place: str | Path, *, revision: str | None = None, **options: Any
    ) -> "Head":
        """Read a head from the hub (`owner/name`) or a folder, on the CPU and ready to judge.

        Args:
            place: where it is; a folder of this name wins.
            revision: a branch, tag or commit there.
            **options: `token`, `cache_dir`, `force_download` and `local_files_only` of
                huggingface_hub.

        Raises what `load_head` does, and StorageError for what the hub refuses.
        """
        name = str(place).removeprefix(PREFIX)
        if name == str(place) and path_of(place).exists():
            return load_head(place)
        return load_head(fetch(name, revision, **options))


class Vote(Head):
    """K heads on one feature each, which vote: the mean of their log-probabilities.

    Each is trained alone, as if there were no other. The mean is no log-probability itself, but as
    good as logits are: its softmax is what the vote says.
    """

    def _build(self, widths: Sequence[int], classes: int) -> None:
        alone = self.recipe.alone()
        self.members = nn.ModuleList(Head((width,), classes, alone) for width in widths)

    def forward(self, *features: Tensor) -> Tensor:
        """(..., B, D_k) for each of the K features to mean log-probabilities (..., B, C)."""
        said = [
            member(each).log_softmax(dim=-1)
            for member, each in zip(self.members, features, strict=True)
        ]
        return torch.stack(said).mean(dim=0)


def new_head(widths: Sequence[int], classes: int, recipe: Recipe) -> Head:
    """The head of a recipe, with random weights; see `Head` for the arguments."""
    kind = Vote if recipe.fusion == VOTE else Head
    return kind(widths, classes, recipe)


def _width_of(operator: Operator, widths: Sequence[int]) -> int:
    """The width of what an operator makes, tried without drawing random numbers."""
    if isinstance(operator, nn.Module):
        operator.eval()
    width = fused_width(operator, widths)
    if isinstance(operator, nn.Module):
        operator.train()
    return width


def _classifier(width: int, classes: int, recipe: Recipe) -> nn.Sequential:
    assert recipe.dropout is not None  # the recipe is settled
    layers: list[nn.Module] = []
    sizes = [width, *recipe.hidden]
    for (size, following), rate in zip(pairwise(sizes), recipe.dropout, strict=True):
        layers += [Linear(size, following), ACTIVATIONS[recipe.activation](), Dropout(rate)]
    return nn.Sequential(*layers, Linear(sizes[-1], classes))


def load_head(folder: str | Path, revision: str | None = None) -> Head:
    """Read a head that `save` wrote, on the CPU and ready to judge; `hub:owner/name` is one too.

    Nothing in the files is run, and no tensor is made that the weights do not hold. Raises
    StorageError where there is no head, DamagedError where its files are not what `save` wrote.
    """
    card, weights = read(head_folder(folder, revision))
    try:
        head = _rebuild(card, weights)
    except UNREADABLE as error:
        raise unreadable(folder, error) from error
    head.card = card
    return head.eval()


def _rebuild(card: Card, weights: Mapping[str, Tensor]) -> Head:
    # On no device nothing is allocated, however large a hostile card says that its layers are.
    with torch.device("meta"):
        head = new_head(card.widths, len(card.classes), card.recipe)
    wanted: dict[str, Any] = {
        name: (tuple(value.shape), value.dtype) for name, value in head.state_dict().items()
    }
    found = {name: (tuple(value.shape), value.dtype) for name, value in weights.items()}
    if wanted != found:
        wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        raise ValueError(f"its weights are not those of its recipe: {', '.join(wrong[:4])}")
    if not all(bool(value.isfinite().all()) for value in weights.values()):
        raise ValueError("not all of its weights are finite numbers")
    head.load_state_dict(dict(weights), assign=True)
    return head
