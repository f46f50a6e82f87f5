"""What is stored, what is missing, and what it was made from. Knows no model and no torch."""

from lefcache.cache.opening import open
from lefcache.cache.pages import CUT, TOKENS, Pages
from lefcache.cache.request import Request, Task
from lefcache.cache.tree import Cache
from lefcache.cache.writer import Writer

__all__ = ["CUT", "TOKENS", "Cache", "Pages", "Request", "Task", "Writer", "open"]
