"""Labels as numbers: places in a list of classes, -1 where there is none."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lefcache.corpus import UNLABELLED, Split


def labels_of(split: Split) -> NDArray[np.int32]:
    """(N,) the labels of a split, as numbers of its corpus's own classes."""
    return np.full(len(split), UNLABELLED, np.int32) if split.labels is None else split.labels


def any_known(labels: NDArray[np.int32]) -> bool:
    """Whether any row has a label."""
    return bool(np.any(labels != UNLABELLED))


def recode(labels: NDArray[Any], old: list[str], new: Any) -> NDArray[np.int32]:
    """The same labels as numbers in another list of classes; -1 where it lacks one."""
    index = {name: number for number, name in enumerate(new)}
    table = np.array([*(index.get(name, UNLABELLED) for name in old), UNLABELLED], np.int32)
    recoded: NDArray[np.int32] = table[labels]
    return recoded
