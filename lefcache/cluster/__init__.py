"""Work on a Ray cluster. Nothing else in lefcache knows Ray.

Both stages spread their work with it; what a job is, and what is left of one that was lost, is
theirs to say.
"""

from lefcache.cluster.jobs import Cluster, here
from lefcache.cluster.nodes import Workers

__all__ = ["Cluster", "Workers", "here"]
