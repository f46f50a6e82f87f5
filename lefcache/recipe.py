"""How a head is trained: the settings of stage 2, without torch, so that flags come from them."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lefcache.errors import RecipeError
from lefcache.presets import (
    ACTIVATIONS,
    MIX,
    OPS,
    OPTIMISERS,
    PRESETS,
    RESIDUAL,
    SCHEDULES,
    VOTE,
    check_width,
    defaults_of,
    dropout_of,
    fitted,
)
from lefcache.settings import setting
from lefcache.typed import checked
from lefcache.wording import count, shown, some

MOST_LAYERS = 100  # of a classifier that is read from a file

# Raised whenever our own arithmetic (heads, fit loop, ridge, carving) changes the numbers.
NUMERICS = 2

# The settings of the first version: the others are written down only where they are used, so
# that a setting that came later changes no older result.
FIRST = ("op", "width", "hidden", "dropout", "lr", "batch", "epochs")

USUAL = PRESETS["paper"]


@dataclass(frozen=True)
class Recipe:
    """The identity of a training run: equal Recipes, seeds and tables give equal heads.

    The defaults are the paper's (arXiv 2504.05764, section on fusion): every feature through a
    linear layer and a ReLU to a common width, an operator, and a perceptron. The preset `released`
    is what its authors' code does instead (`lefcache.presets`); what you give yourself is taken
    over either. `op` may also be a function of your own that takes K tensors (..., B, width) and
    returns one (..., B, any). Raises RecipeError, which names the fix, for a setting that cannot
    work.
    """

    op: str | Callable[..., Any] = setting(  # noqa: RUF009  a constant tuple, not a mutable default
        "concat", "Operator that fuses the projected features.", choices=OPS
    )
    preset: str = setting(
        "paper",
        "What the method's paper says, or what its authors' released code does: projections, "
        "classifier, batch (1024) and epochs (100), as far as no other flag says.",
        choices=tuple(PRESETS),
    )
    width: int = setting(
        1024,
        "Width that every feature is projected to (preset released: where the operator needs one).",
    )
    hidden: tuple[int, ...] = setting(
        None, "Widths of the classifier's hidden layers.", usual=USUAL["hidden"]
    )
    dropout: tuple[float, ...] | None = setting(
        None,
        "Dropout after each hidden layer; left out, the preset's, the last for all layers beyond.",
        usual=USUAL["dropout"],
    )
    activation: str = setting(
        "relu", "Function after the paper's projections and hidden layers.", choices=ACTIVATIONS
    )
    lr: float = setting(1e-4, "Learning rate.")
    batch: int = setting(None, "Rows in a training step.", usual=USUAL["batch"])
    epochs: int = setting(
        None, "Passes over the training rows; the best one is kept.", usual=USUAL["epochs"]
    )
    patience: int = setting(
        0, "Stop after so many passes without a better one on validation; 0: never."
    )
    optimiser: str = setting("adam", "How the weights move.", choices=OPTIMISERS)
    schedule: str = setting(
        "constant",
        "Learning rate over all passes: the same, or down to nothing; warmed up for a tenth first.",
        choices=SCHEDULES,
    )
    weight_decay: float = setting(
        0.0, "Pull of all weights towards 0 (adam: in the gradient; adamw: apart from it)."
    )
    label_smoothing: float = setting(
        0.0, "Share of each label that is spread over all classes, in training."
    )
    class_weights: str = setting(
        "none",
        "What a row counts for in training: balanced makes rare classes count as much as others.",
        choices=("none", "balanced"),
    )
    standardise: bool = setting(
        False, "Bring each number of a feature to mean 0 and deviation 1, as measured on train."
    )
    precision: str = setting(
        "float32",
        "Products in training: bfloat16 is faster where the machine has it; judging is float32.",
        choices=("float32", "bfloat16"),
    )

    def __post_init__(self) -> None:
        self._check_names()
        self._fill()
        for name in ("width", "batch", "epochs"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}: give at least 1")
        check_width(self.fusion, self.width)
        self._check_classifier()
        self._check_training()

    def _check_names(self) -> None:
        if isinstance(self.op, str) and self.op not in OPS:
            raise RecipeError(f"no operator '{self.op}': op is one of {', '.join(OPS)}")
        for each in fields(self):
            value, choices = getattr(self, each.name), each.metadata["choices"]
            if choices and each.name != "op" and value not in choices:
                name = each.name.replace("_", " ")
                raise RecipeError(f"no {name} '{value}': it is one of {', '.join(choices)}")

    def _fill(self) -> None:
        """What is not given is the preset's."""
        filled = defaults_of(self.preset, self.fusion)
        if "dropout" in filled and self.hidden is not None:
            filled["dropout"] = fitted(filled["dropout"], len(self.hidden))
        for name, value in filled.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        # JSON and command lines give lists, equality and hashing want tuples.
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if self.dropout is not None:
            object.__setattr__(self, "dropout", tuple(self.dropout))

    def _check_classifier(self) -> None:
        if any(width < 1 for width in self.hidden):
            given = _listed(self.hidden)
            raise RecipeError(f"hidden is {given}: give widths of at least 1, or none at all")
        if self.dropout is None:
            return
        if len(self.dropout) != len(self.hidden):
            mended = ",".join(map(str, fitted(self.dropout or (0,), len(self.hidden))))
            raise RecipeError(
                f"{count(len(self.dropout), 'dropout')} for "
                f"{count(len(self.hidden), 'hidden layer')}: "
                + (f"give one for each, such as dropout {mended}, or " if mended else "")
                + "leave dropout out"
            )
        if not all(0 <= rate < 1 for rate in self.dropout):
            raise RecipeError(f"dropout is {_listed(self.dropout)}: give rates from 0 to below 1")

    def _check_training(self) -> None:
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise RecipeError(f"lr is {self.lr}: give a number above 0, such as 1e-4")
        if self.patience < 0:
            raise RecipeError(f"patience is {self.patience}: give passes, or 0 to never stop early")
        if not (self.weight_decay >= 0 and math.isfinite(self.weight_decay)):
            raise RecipeError(f"weight_decay is {self.weight_decay}: give 0, or more such as 0.01")
        if not 0 <= self.label_smoothing < 1:
            raise RecipeError(
                f"label_smoothing is {self.label_smoothing}: give a share from 0 to below 1"
            )
        if not isinstance(self.standardise, bool):
            raise RecipeError(f"standardise is {self.standardise!r}: give True or False")

    @property
    def named(self) -> bool:
        """Whether a name says it all: a function of your own is not written into results."""
        return isinstance(self.op, str)

    @property
    def fusion(self) -> str:
        """The operator's name without its residual; empty for a function of your own."""
        return self.op.removesuffix(RESIDUAL) if isinstance(self.op, str) else ""

    @property
    def residual(self) -> bool:
        """Whether the operator's inputs stand beside its output; concat holds them already."""
        return self.fusion not in (self.op, "", "concat")

    def settled(self, features: int) -> "Recipe":
        """The recipe with nothing open, for a head on this many features."""
        if self.dropout is not None:
            return self
        models = 1 if self.fusion in (MIX, VOTE) else features  # layers of one, each alone
        return replace(self, dropout=fitted(dropout_of(models), len(self.hidden)))

    def alone(self) -> "Recipe":
        """The recipe by which each member of a vote is trained, on its one feature."""
        return replace(self, op="concat")

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values; an operator of your own is only described."""
        op = self.op if isinstance(self.op, str) else f"function {_name_of(self.op)}"
        values = {name: _plain(value) for name, value in asdict(self).items()} | {"op": op}
        usual = {field.name: field.default for field in fields(self)}
        return {
            name: value for name, value in values.items() if name in FIRST or value != usual[name]
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Recipe":
        """Read what `to_json` wrote; a field this version does not know is refused."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise RecipeError(
                f"written by a newer lefcache (unknown setting {shown(some(unknown), 200)}): "
                "upgrade lefcache"
            )
        try:
            made = checked(cls(**values))
        except TypeError as error:
            raise RecipeError(f"no recipe: {error}") from error
        if not made.named or len(made.hidden) > MOST_LAYERS:
            raise RecipeError(f"no recipe: an operator by name, at most {MOST_LAYERS} layers")
        return made


def _plain(value: Any) -> Any:
    return [*value] if isinstance(value, tuple) else value


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


def _listed(values: Iterable[float]) -> str:
    """Numbers as a flag takes them."""
    return ",".join(f"{value:g}" for value in values)
