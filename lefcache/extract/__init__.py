"""Stage 1: run each frozen model once over the texts and keep every layer."""

from lefcache.extract.backbone import Backbone, Encoded
from lefcache.extract.loading import load_backbone
from lefcache.extract.models import MODELS, resolve_model
from lefcache.extract.order import Estimate, Order, estimate, place_order
from lefcache.extract.run import Progress, Receipt, extract

__all__ = [
    "MODELS",
    "Backbone",
    "Encoded",
    "Estimate",
    "Order",
    "Progress",
    "Receipt",
    "estimate",
    "extract",
    "load_backbone",
    "place_order",
    "resolve_model",
]
