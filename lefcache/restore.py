"""The frozen models of a saved head, each loaded as it was when the head was trained."""

from collections.abc import Iterable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

from lefcache.errors import MismatchError, ModelError
from lefcache.extract import load_backbone
from lefcache.extract.backbone import Backbone
from lefcache.extract.pooling import POOLINGS
from lefcache.feature import Layer
from lefcache.spec import Origin, Spec
from lefcache.train.card import Card
from lefcache.wording import did_you_mean, shown


def load_models(
    card: Card, moved: Mapping[str, str], *, trust_remote_code: bool, **place: Any
) -> dict[str, Backbone]:
    """A head's models by name, up to the deepest layer that it reads, in the order of its features.

    `moved` says where a model is now, if not where it was; `place` are the `device` and the
    `device_map` of `load_backbone`. Raises ModelError and MismatchError as `Predictor` says.
    """
    names = list(dict.fromkeys(origin.model for origin in card.origins))
    if unknown := sorted(moved.keys() - {*names}):
        near = did_you_mean(unknown[0], names)
        raise ModelError(
            f"the head reads no model {unknown[0]}{near}: its models are {', '.join(names)}"
        )
    return {
        name: _backbone(name, card, moved.get(name), trust_remote_code, **place) for name in names
    }


def _backbone(
    model: str, card: Card, moved: str | None, trust_remote_code: bool, **place: Any
) -> Backbone:
    """One of the head's models, loaded up to its deepest layer and checked against its Spec."""
    used = [
        (origin, spec)
        for origin, spec in zip(card.origins, card.specs, strict=True)
        if origin.model == model
    ]
    origin, spec = used[0]
    source = moved or origin.source
    if source is None:
        raise ModelError(
            f"the vectors of {model} were brought along, not made here: this head can score "
            f"cached rows of {model}, but no raw text"
        )
    # An attention with a slash is the name of a repository on the hub.
    if (origin.remote_code or "/" in spec.attention) and not trust_remote_code:
        raise ModelError(
            f"{model} needs the code that comes with it or with its attention "
            f"{shown(repr(spec.attention))}: if you trust its authors, allow that with "
            "--trust-remote-code"
        )
    layers = _layers(origin for origin, _ in used)
    _check_place(model, source)
    backbone = load_backbone(
        f"{model}={source}",
        revision=None if moved else origin.revision,
        trust_remote_code=trust_remote_code and origin.remote_code,
        layers=layers,
        **place,
        **_settings(spec),
    )
    _check_backbone(backbone, card)
    return backbone


def _check_place(model: str, source: str) -> None:
    """Refuse a folder that is gone, as on another machine, and what can be no place at all."""
    where = f"with --model {model}=FOLDER (in Python: models={{'{model}': 'FOLDER'}})"
    if not source:  # of a head from the hub
        raise ModelError(
            f"the model {model} was a folder on the machine of the head's author: say where a copy "
            f"of it is {where}"
        )
    try:
        there = Path(source).expanduser().resolve().exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(
            f"'{shown(source, 80)}' can be no place of {model} ({error}): say where it is {where}"
        ) from error
    absolute = Path(source).is_absolute() or PureWindowsPath(source).is_absolute()
    if absolute and not there:
        raise ModelError(f"{model} is not in {source} any more: say where it is now {where}")


def _check_backbone(backbone: Backbone, card: Card) -> None:
    """Refuse a model that is not the one which every feature of it was made with."""
    model = backbone.name
    for width, spec, origin in zip(card.widths, card.specs, card.origins, strict=True):
        if origin.model != model:
            continue
        difference = spec.difference(backbone.spec, "head")
        # OPT's `last` may be narrower than its blocks: what it is shows when it is made.
        if width != backbone.width and "last" not in {layer for _, layer in origin.layers}:
            difference.append(f"width: {width} in the head, {backbone.width} now")
        if difference:
            raise MismatchError(
                f"{model} is not the model that this head was trained on "
                f"({'; '.join(difference)}): say where that one is with --model {model}=FOLDER"
            )
        for layer in _layers([origin]):
            if layer not in backbone.layers:
                raise ModelError(f"{model} has no layer {layer}, which this head reads")
        if backbone.own is None and "own/last" in origin.arrays:
            raise ModelError(f"{model} has no pooled vector of its own, which this head reads")


def _layers(origins: Iterable[Origin]) -> list[Layer]:
    """The layers that features are made of; a stranger's head may name any pooling."""
    layers: list[Layer] = []
    for origin in origins:
        try:
            named = origin.layers
        except ValueError as error:
            raise ModelError(str(error)) from error
        for pool, layer in named:
            if pool not in POOLINGS and (pool, layer) != ("own", "last"):
                raise ModelError(f"no pooling of layer {layer} is called {pool}")
        layers += [layer for _, layer in named]
    return layers


def _settings(spec: Spec) -> dict[str, Any]:
    """The settings that load a model as it was when its features were made."""
    return {name: getattr(spec, name) for name in Spec.settings()}
