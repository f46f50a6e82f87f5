"""Charts as Altair makes them, from plain rows; the page, the files and notebooks draw the same.

Names of models, classes and texts are values of data, never parts of an expression: Vega shows
them as text whatever is in them.
"""

from lefcache.report.charts.curve import layer_curve
from lefcache.report.charts.estimates import cost_chart, differences, intervals, learning_curve
from lefcache.report.charts.matrix import matrix

__all__ = ["cost_chart", "differences", "intervals", "layer_curve", "learning_curve", "matrix"]
