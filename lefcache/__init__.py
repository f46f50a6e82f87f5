"""Run each frozen language model once; keep every layer; learn everything else from the pages.

Nothing here imports torch or transformers; `lefcache.extract` (stage 1) and `lefcache.train`
(stage 2) do, and their import paths tell you so. `load` imports both when it is called for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lefcache.errors import LefError
from lefcache.version import __version__

if TYPE_CHECKING:
    from lefcache.cache import Cache, open
    from lefcache.corpus import Corpus, read_corpus
    from lefcache.feature import Feature
    from lefcache.predict import load

__all__ = ["Cache", "Corpus", "Feature", "LefError", "__version__", "load", "open", "read_corpus"]

# Loaded when first asked for: `lef --help` must not wait for numpy and zarr.
_HOMES = {
    "Cache": "lefcache.cache",
    "open": "lefcache.cache",
    "Corpus": "lefcache.corpus",
    "read_corpus": "lefcache.corpus",
    "Feature": "lefcache.feature",
    "load": "lefcache.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lefcache' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
