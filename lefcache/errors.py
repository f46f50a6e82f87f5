"""Everything that lefcache raises on purpose.

LefError
├── CorpusError(ValueError)         unreadable file, missing column, unknown label, empty split
├── FeatureError(KeyError)          bad spelling, or not in this cache: the message lists what is
├── VectorsError(ValueError)        vectors made elsewhere that cannot be read, or fit no texts
├── ModelError(ValueError)          a backbone that cannot be found, loaded or read
├── RecipeError(ValueError)         a training setting that cannot work
├── ResultError(LookupError)        a finished study that is not there, or is not what was meant
├── IncompleteError                 extraction was interrupted: the message resumes it
├── MismatchError(ValueError)       other texts, weights or settings: the message is the difference
├── DamagedError                    a checksum does not hold: the message is the repair
├── BusyError                       another process is extracting this split
├── EngineError(RuntimeError)       a cluster that is not there, or cannot do the work
├── StorageError(OSError)           disk full, read-only, or not a cache
└── NotFiniteError(ArithmeticError) the model produced NaN or inf, or a value outgrew its storage

A user's mistake raises one of these and its message names the fix; our own mistakes are
assertions.
"""


class LefError(Exception):
    """A mistake that the user can mend; the message says how."""


class CorpusError(LefError, ValueError):
    """Texts or labels that cannot be read or used."""


class FeatureError(LefError, KeyError):
    """A feature that is misspelt or not in the cache; what a mapping raises for a missing key."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # a KeyError would show its message in quotation marks


class VectorsError(LefError, ValueError):
    """Vectors made elsewhere that cannot be read, or are not those of the texts."""


class ModelError(LefError, ValueError):
    """A backbone that cannot be found, loaded or read layer by layer."""


class RecipeError(LefError, ValueError):
    """A training setting that cannot work."""


class ResultError(LefError, LookupError):
    """A finished study that is not there, or that has not what was asked of it."""


class IncompleteError(LefError):
    """Rows that an interrupted extraction has yet to write."""


class MismatchError(LefError, ValueError):
    """A cache that was made from other texts, other weights or other settings."""


class DamagedError(LefError):
    """Stored bytes that are not the ones that were written."""


class BusyError(LefError):
    """A split that another process is extracting right now."""


class EngineError(LefError, RuntimeError):
    """A cluster that is not there, has no room, or loses every worker at the same work."""


class StorageError(LefError, OSError):
    """A disk that is full or read-only, or a path that is no cache."""


class NotFiniteError(LefError, ArithmeticError):
    """NaN or infinity from the model, or a value too large for its storage."""
