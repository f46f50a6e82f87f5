"""Questions asked of a cache: which layer, which features together. No language model is needed."""

from lefcache.again import read_again
from lefcache.study.across import Across, across
from lefcache.study.arrange import PROTOCOLS, sizes_of
from lefcache.study.baselines import Baseline, plain_baselines
from lefcache.study.budget import Budget
from lefcache.study.compare import compare
from lefcache.study.compared import Comparison
from lefcache.study.engine import HERE, Engine, Spread
from lefcache.study.fixed import alone_baselines, fixed_layers, layer_baselines
from lefcache.study.fuse import fuse
from lefcache.study.fused import Estimate, Fused
from lefcache.study.identity import check_tables
from lefcache.study.moved import same_classes
from lefcache.study.operators import fuse_best
from lefcache.study.paired import Correlation, Measured, PairRow, Pairs, Single
from lefcache.study.pairs import pairs
from lefcache.study.probes import PROBES, Probed, Setup
from lefcache.study.project import Projection, Rate, measured_rate, project
from lefcache.study.regret import Agreement, Loss, Regret
from lefcache.study.rights import Gain
from lefcache.study.scale import scale
from lefcache.study.scaled import Scale, Step
from lefcache.study.scores import LABEL_FREE, SCORES, Sample
from lefcache.study.select import select
from lefcache.study.selected import Choice, Layer, Selection
from lefcache.study.sweep import sweep
from lefcache.study.swept import Row, Sweep
from lefcache.study.transfer import transfer
from lefcache.study.transferred import Chosen, Figures, HeadMoved, Target, Transfer, Transferred

__all__ = [
    "HERE",
    "LABEL_FREE",
    "PROBES",
    "PROTOCOLS",
    "SCORES",
    "Across",
    "Agreement",
    "Baseline",
    "Budget",
    "Choice",
    "Chosen",
    "Comparison",
    "Correlation",
    "Engine",
    "Estimate",
    "Figures",
    "Fused",
    "Gain",
    "HeadMoved",
    "Layer",
    "Loss",
    "Measured",
    "PairRow",
    "Pairs",
    "Probed",
    "Projection",
    "Rate",
    "Regret",
    "Row",
    "Sample",
    "Scale",
    "Selection",
    "Setup",
    "Single",
    "Spread",
    "Step",
    "Sweep",
    "Target",
    "Transfer",
    "Transferred",
    "across",
    "alone_baselines",
    "check_tables",
    "compare",
    "fixed_layers",
    "fuse",
    "fuse_best",
    "layer_baselines",
    "measured_rate",
    "pairs",
    "plain_baselines",
    "project",
    "read_again",
    "same_classes",
    "scale",
    "select",
    "sizes_of",
    "sweep",
    "transfer",
]
