"""Questions asked of a cache: which layer, which features together. No language model is needed."""

from lefcache.study.arrange import PROTOCOLS
from lefcache.study.fuse import fuse
from lefcache.study.fused import Estimate, Fused
from lefcache.study.identity import check_tables
from lefcache.study.probes import PROBES, Probed, Setup
from lefcache.study.sweep import Row, Sweep, sweep

__all__ = [
    "PROBES",
    "PROTOCOLS",
    "Estimate",
    "Fused",
    "Probed",
    "Row",
    "Setup",
    "Sweep",
    "check_tables",
    "fuse",
    "sweep",
]
