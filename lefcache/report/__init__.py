"""A cache and what was found out from it, as one HTML page or as figures for a paper.

Reads what is finished and trains nothing; `altair` is imported where a chart is asked for.
"""

from lefcache.report.build import FORMATS, Written, report

__all__ = ["FORMATS", "Written", "report"]
