"""Questions asked of a cache: which layer, which features together. No language model is needed."""

from lefcache.study.fuse import Estimate, Fused, fuse
from lefcache.study.identity import check_tables
from lefcache.study.probes import PROBES, Probed, Setup
from lefcache.study.sweep import Row, Sweep, sweep

__all__ = [
    "PROBES",
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
