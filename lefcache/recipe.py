"""How a head is trained: the settings of stage 2, without torch, so that flags come from them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lefcache.errors import RecipeError
from lefcache.settings import setting

# Raised whenever our own arithmetic (heads, fit loop, ridge, carving) changes the numbers.
NUMERICS = 1

# The names in `lefcache.train.FUSIONS`, which needs torch to be imported.
OPS = ("concat", "concat-res", "hadamard", "hadamard-res")


@dataclass(frozen=True)
class Recipe:
    """The identity of a training run: equal Recipes, seeds and tables give equal heads.

    The defaults are the paper's (arXiv 2504.05764, section on fusion): every feature through a
    linear layer and a ReLU to a common width, an operator, and a perceptron. `op` may also be a
    function of your own that takes K tensors (B, width) and returns one (B, any).
    Raises RecipeError, which names the fix, for a setting that cannot work.
    """

    op: str | Callable[..., Any] = setting(  # noqa: RUF009  a constant tuple, not a mutable default
        "concat", "Operator that fuses the projected features.", choices=OPS
    )
    width: int = setting(1024, "Width that every feature is projected to.")
    hidden: tuple[int, ...] = setting((1024, 256), "Widths of the classifier's hidden layers.")
    dropout: tuple[float, ...] = setting((0.5, 0.3), "Dropout after each hidden layer.")
    lr: float = setting(1e-4, "Learning rate of Adam.")
    batch: int = setting(100, "Rows in a training step.")
    epochs: int = setting(120, "Passes over the training rows; the best one is kept.")

    def __post_init__(self) -> None:
        # JSON and command lines give lists, equality and hashing want tuples.
        object.__setattr__(self, "hidden", tuple(self.hidden))
        object.__setattr__(self, "dropout", tuple(self.dropout))
        if isinstance(self.op, str) and self.op not in OPS:
            raise RecipeError(f"no operator '{self.op}': op is one of {', '.join(OPS)}")
        for name in ("width", "batch", "epochs"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}: give at least 1")
        if any(width < 1 for width in self.hidden):
            raise RecipeError(f"hidden is {self.hidden}: give widths of at least 1, or none at all")
        if len(self.dropout) != len(self.hidden):
            raise RecipeError(
                f"{len(self.dropout)} dropouts for {len(self.hidden)} hidden layers: "
                "give one for each, 0 for none"
            )
        if not all(0 <= rate < 1 for rate in self.dropout):
            raise RecipeError(f"dropout is {self.dropout}: give rates from 0 to below 1")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise RecipeError(f"lr is {self.lr}: give a number above 0, such as 1e-4")

    @property
    def named(self) -> bool:
        """Whether a name says it all: a function of your own is not written into results."""
        return isinstance(self.op, str)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain values; an operator of your own is only described."""
        op = self.op if isinstance(self.op, str) else f"function {_name_of(self.op)}"
        return asdict(self) | {"op": op, "hidden": [*self.hidden], "dropout": [*self.dropout]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Recipe":
        """Read what `to_json` wrote; a field this version does not know is refused."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise RecipeError(
                f"written by a newer lefcache (unknown setting {', '.join(unknown)}): "
                "upgrade lefcache"
            )
        return cls(**values)


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)
