"""The model card of a saved head: what it is, what it was made from and how good it is, for people.

All of it comes from the head's own card, which may be a stranger's: a figure that is not there, or
is no number, is left out, and words are shown as words.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any

from lefcache.registry import training_notes
from lefcache.spec import Spec
from lefcache.train.card import Card
from lefcache.train.figures import Figures, Score
from lefcache.train.markdown import code, listed, table
from lefcache.train.protocol import BY_CARVED, BY_SPLIT, BY_TEST
from lefcache.train.provenance import (
    dataset_of,
    licence_of,
    model_id,
    models_of,
    split_on_the_hub,
)
from lefcache.wording import count

SHOWN = 100  # classes: nobody reads a longer list
HUB = "https://huggingface.co"
CHOSEN = {
    BY_SPLIT: "on the corpus's own validation split",
    BY_CARVED: "on rows carved from train",
    BY_TEST: "on the test itself",
}
METHOD = "[arXiv 2504.05764](https://arxiv.org/abs/2504.05764)"
CHOSEN = {
    BY_SPLIT: "on the corpus's own validation split",
    BY_CARVED: "on rows carved from train",
    BY_TEST: "on the test itself",
}
METHOD = "[arXiv 2504.05764](https://arxiv.org/abs/2504.05764)"


def model_card(card: Card, place: str = "FOLDER", licence: str = "") -> str:
    """The text of README.md beside a saved head, after the metadata that the hub reads.

    Args:
        card: what the head was made from.
        place: where it is, for the commands that use it.
        licence: of the head's own weights, as the hub spells it (`mit`), if its author chose one.
    """
    from huggingface_hub import ModelCardData  # takes a second, and only a card needs it

    sections: tuple[Callable[[Card], Iterator[str]], ...] = (
        _title,
        lambda each: _use(each, place),
        _scores,
        _data,
        _features,
        _recipe,
        lambda each: _licences(each, licence),
        _limits,
    )
    body = "\n\n".join(paragraph for section in sections for paragraph in section(card))
    metadata = ModelCardData(**_metadata(card, licence)).to_yaml()
    return f"---\n{metadata}\n---\n\n{body}\n"


def _metadata(card: Card, licence: str) -> dict[str, Any]:
    """What the hub shows beside a card, and searches by."""
    dataset = dataset_of(card)
    scores = Figures(card.figures).scores()
    tested = [each for each in scores if each.split == "test" and each.metric and each.seeds == 1]
    # The backbones' licences are not the head's: only its author can give it one.
    none = {"license": "other", "license_name": "not-chosen-yet", "license_link": "#licences"}
    return {
        **({"license": licence} if licence else none),
        "library_name": "lefcache",
        "pipeline_tag": "text-classification",
        "tags": ["lefcache", "layer-fusion", "frozen-language-model", "arxiv:2504.05764"],
        "base_model": [*filter(None, map(model_id, models_of(card).values()))] or None,
        "datasets": [dataset] if dataset else None,
        "metrics": list(dict.fromkeys(score.metric for score in tested)) or None,
        "model-index": [_index(card, dataset, tested)] if tested else None,
    }


def _index(card: Card, dataset: str, tested: Iterable[Score]) -> dict[str, Any]:
    """The scores on the test for the hub, which has no place of its own for n and interval."""
    corpus = Figures(card.figures).word("corpus")
    metrics = []
    for score in tested:
        name = f"{score.name} on {count(score.n, 'text')}"
        if score.interval:
            name += ", 95 % interval {:.4f} to {:.4f}".format(*score.interval)
        metrics.append({"type": score.metric, "name": name, "value": round(score.value, 4)})
    split = split_on_the_hub(dataset, "test")
    data = {"type": dataset or corpus, "name": corpus, "split": split}
    task = {"type": "text-classification", "name": "Text Classification"}
    name = " + ".join(map(str, card.features))
    return {"name": name, "results": [{"task": task, "dataset": data, "metrics": metrics}]}


def _title(card: Card) -> Iterator[str]:
    models = listed([code(name) for name in models_of(card)])
    yield f"# {code(Figures(card.figures).word('corpus'))} from frozen layers of {models}"
    yield (
        f"The trained part of a text classifier: from hidden states of {models} it tells "
        f"{count(len(card.classes), 'class', 'classes')} apart. The language models are no part of "
        "it; lefcache runs them, unchanged, as deep as it reads them. Method: projection, fusion "
        f"and perceptron of {METHOD}."
    )
    shown = ", ".join(map(code, card.classes[:SHOWN]))
    more = len(card.classes) - SHOWN
    yield f"Classes: {shown}" + (f" and {more:,} more, in head.json." if more > 0 else ".")


def _use(card: Card, place: str) -> Iterator[str]:
    yield "## Use it"
    if imported := _imported(card):
        yield (
            "It labels rows of a cache that has its features, and no raw text: the vectors of "
            f"{listed([code(name) for name in imported])} were made elsewhere."
        )
        yield (
            "```python\nfrom lefcache.train import load_head, logits\n\n"
            f"values = logits(load_head({place!r}), table)  # (N, {len(card.classes)})\n```"
        )
        return
    yield f'```console\nlef predict {place} "a text"\n```'
    yield (
        f"```python\nimport lefcache\n\npredictor = lefcache.load({place!r})\n"
        'labels = predictor.predict(["a text"])\n'
        f'shares = predictor.predict_proba(["a text"])  # (1, {len(card.classes)})\n```'
    )
    yield (
        "lefcache finds the language models itself, at the revisions below, and refuses other "
        "weights than those that this head was trained on. The files are safetensors and JSON, no "
        "pickle: nothing in them is run."
    )


def _scores(card: Card) -> Iterator[str]:
    yield "## Scores"
    figures = Figures(card.figures)
    by, seeds = figures.word("selected_by"), figures.count("seeds")
    rows = [_row(each) for each in figures.scores() if by != BY_TEST or each.split == "test"]
    yield table(["figure", "split", "of", "", "± seeds", "95 % interval", "n"], rows)
    if epoch := figures.count("best_epoch"):
        chosen = f"the best by accuracy {CHOSEN.get(by, '')}".rstrip()
        yield f"Epoch {epoch:,} of {card.recipe.epochs:,} is {chosen}."
    if by == BY_TEST:
        yield (
            "**Protocol of the method's source: the test chose the epoch. These figures flatter, "
            "and compare with none but those of the same protocol.**"
        )
    which = f"This head is of seed {figures.count('seed'):,}"
    which += f", the best of {seeds:,} by the rows that chose" if seeds > 1 else ""
    yield f"{which}. Its intervals cover the luck of the texts, not that of training."
    for split, name in (("validation", "n_val"), ("test", "n_test")):
        if shared := figures.count(f"{name}_known"):
            yield (
                f"{shared:,} of {count(figures.count(name), f'{split} text')} are in train too: "
                "the accuracy on new texts is likely lower."
            )


def _row(score: Score) -> list[str]:
    shown = (lambda value: f"{value:.3f}") if score.name == "log-loss" else _percent
    interval = " to ".join(map(shown, score.interval)) if score.interval else ""
    several = score.seeds > 1
    return [
        score.name,
        score.split,
        count(score.seeds, "seed") if several else "this head",
        shown(score.value),
        shown(score.std) if several else "",
        interval,
        f"{score.n:,}",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _data(card: Card) -> Iterator[str]:
    yield "## Data"
    figures, dataset = Figures(card.figures), dataset_of(card)
    source = f"[{dataset}]({HUB}/datasets/{dataset})" if dataset else "texts of its author's"
    source = "the texts that come with lefcache" if figures.word("source") == "demo" else source
    read = {name.replace("-", " "): code(value) for name, value in card.reading.flags().items()}
    uses = {"n_train": "to learn from", "n_val": "to choose by", "n_test": "to score"}
    sizes = {f"rows {use}": f"{figures.count(name):,}" for name, use in uses.items()}
    rows = {"corpus": f"{code(figures.word('corpus'))}, {source}"} | read | sizes
    yield table(["", ""], [[name, value] for name, value in rows.items()])
    if figures.count("n_test") and (name := split_on_the_hub(dataset, "test")) != "test":
        yield f"What is called test here is the data set's {code(name)}."


def _features(card: Card) -> Iterator[str]:
    yield "## Features"
    rows = [
        [code(feature), f"{width:,}", ", ".join(map(code, origin.arrays)), ", ".join(origin.dtypes)]
        for feature, width, origin in zip(card.features, card.widths, card.origins, strict=True)
    ]
    yield table(["feature", "width", "layers", "stored as"], rows)
    specs = dict(zip((each.model for each in card.origins), card.specs, strict=True))
    for name, origin in models_of(card).items():
        where = model_id(origin)
        linked = f"[{where}]({HUB}/{where})" if where else "not on the hub"
        revision = f", revision {code(origin.revision)}" if origin.revision else ""
        said = [
            f"{each.name.replace('_', ' ')} {code(value)}"
            for each in fields(Spec)
            if (value := getattr(specs[name], each.name)) not in ("", 0)
        ]
        yield f"- {code(name)}: {linked}{revision}; {', '.join(said)}"


def _recipe(card: Card) -> Iterator[str]:
    yield "## Recipe"
    values = card.recipe.to_json()
    yield table(
        ["setting", ""],
        [[name, code(_plain(each))] for name, each in values.items() if each is not None],
    )
    figures = Figures(card.figures)
    shares = figures.numbers("layer_weights")
    if len(shares) == len(card.features):
        rows = zip(map(code, card.features), shares, strict=True)
        yield f"Each layer counts for: {', '.join(f'{name} {share:.3f}' for name, share in rows)}."
    if version := figures.word("lefcache"):
        yield f"Trained with lefcache {code(version)}."


def _licences(card: Card, licence: str) -> Iterator[str]:
    yield "## Licences"
    chosen = f"{code(licence)}, says its author" if licence else "its author has chosen none yet"
    yield f"The weights of this head: {chosen}. Of what it needs and was made from:"
    lines = [
        f"- {code(name)}: {licence_of(origin) or 'not known to lefcache; ask its authors'}"
        for name, origin in models_of(card).items()
    ]
    lines.append(
        f"- the texts of {code(Figures(card.figures).word('corpus'))}: see where they come from"
    )
    yield "\n".join(lines)


def _limits(card: Card) -> Iterator[str]:
    yield "## What it cannot do"
    figures = Figures(card.figures)
    lines = [
        f"It knows these {count(len(card.classes), 'class', 'classes')} and no other: every text "
        "is given one of them, also one of another language or subject.",
        "Its figures are those of the texts above; other texts may be harder.",
    ]
    if not figures.count("n_test"):
        lines.append("It was never scored on a test split: only on the rows that chose its epoch.")
    if imported := _imported(card):
        names = listed([code(name) for name in imported])
        lines.append(f"It labels no raw text: lefcache cannot make the vectors of {names}.")
    known = [figures.word("corpus"), dataset_of(card)]
    for model, origin in models_of(card).items():
        lines += training_notes(origin.source or model, filter(None, known))
    yield "\n".join(f"- {line}" for line in lines)


def _imported(card: Card) -> list[str]:
    """The models whose vectors were made elsewhere."""
    return [name for name, origin in models_of(card).items() if origin.source is None]


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
