"""Stage 1: run each frozen model once over the texts and keep every layer.

Names are loaded when first asked for: `lefcache.extract.models` alone does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lefcache.registry import MODELS

if TYPE_CHECKING:
    from lefcache.extract.backbone import Backbone, Encoded
    from lefcache.extract.doctor import examine
    from lefcache.extract.engines import Engine, engine_here
    from lefcache.extract.expected import Estimate, estimate
    from lefcache.extract.finding import DefectError, Diagnosis, Finding
    from lefcache.extract.loading import load_backbone
    from lefcache.extract.models import resolve_model
    from lefcache.extract.order import Order, place_order
    from lefcache.extract.run import Progress, Receipt, extract
    from lefcache.extract.shallow import layers_to_load
    from lefcache.extract.spread import Spread

__all__ = [
    "MODELS",
    "Backbone",
    "DefectError",
    "Diagnosis",
    "Encoded",
    "Engine",
    "Estimate",
    "Finding",
    "Order",
    "Progress",
    "Receipt",
    "Spread",
    "engine_here",
    "estimate",
    "examine",
    "extract",
    "layers_to_load",
    "load_backbone",
    "place_order",
    "resolve_model",
]

_HOMES = {
    "Backbone": "backbone",
    "DefectError": "finding",
    "Diagnosis": "finding",
    "Encoded": "backbone",
    "Engine": "engines",
    "Estimate": "expected",
    "Finding": "finding",
    "Order": "order",
    "Progress": "run",
    "Receipt": "run",
    "Spread": "spread",
    "engine_here": "engines",
    "estimate": "expected",
    "examine": "doctor",
    "extract": "run",
    "layers_to_load": "shallow",
    "load_backbone": "loading",
    "place_order": "order",
    "resolve_model": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lefcache.extract' has no attribute '{name}'")
    return getattr(import_module(f"lefcache.extract.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
