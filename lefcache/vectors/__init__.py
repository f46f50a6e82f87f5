"""Bring your own vectors: embeddings that were made elsewhere, put into the cache without torch."""

from lefcache.vectors.files import Vectors, find_vectors
from lefcache.vectors.run import Imported, import_vectors
from lefcache.vectors.work import Progress

__all__ = ["Imported", "Progress", "Vectors", "find_vectors", "import_vectors"]
