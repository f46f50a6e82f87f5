"""A head as huggingface_hub pushes models: a folder of its files, in one commit."""

import copy
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin

from lefcache.errors import RecipeError
from lefcache.saved import MODEL_CARD
from lefcache.train.head import Head
from lefcache.train.modelcard import model_card
from lefcache.train.readme import is_sealed, sealed
from lefcache.travel import PREFIX, readme_there, refusals

WEIGHTS = "head-*.safetensors"  # those of an older head go in the same commit


class HubHead(ModelHubMixin):
    """A head beside what its repository's card says: the place it is got from, and its licence.

    The head itself is no such mixin: importing huggingface_hub takes a second, which training
    should not wait for.
    """

    def __init__(self, head: Head, place: str, licence: str) -> None:
        self.head, self.place, self.licence = head, place, licence

    def _save_pretrained(self, save_directory: Path) -> None:
        public = copy.copy(self.head)
        assert self.head.card is not None  # `push` saw to it
        public.card = self.head.card.published()
        public.save(save_directory)
        text = model_card(public.card, self.place, self.licence)
        (save_directory / MODEL_CARD).write_text(sealed(text), encoding="utf-8")


def push(head: Head, repo_id: str, licence: str, **options: Any) -> str:
    """Upload a head; see `Head.push_to_hub`."""
    if head.card is None:
        raise RecipeError("only a head that `train` made knows its features: push that one")
    written = readme_there(repo_id, options.get("branch"), options.get("token"))
    own = bool(written) and not is_sealed(written)
    travelling = HubHead(head, f"{PREFIX}{repo_id}", licence)
    with refusals(repo_id, options.get("branch")):
        commit = travelling.push_to_hub(
            repo_id,
            delete_patterns=[WEIGHTS],
            ignore_patterns=[MODEL_CARD] if own else None,
            **{"commit_message": "Push a head with lefcache"} | options,
        )
    return str(commit)
