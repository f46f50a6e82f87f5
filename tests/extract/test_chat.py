import json

import pytest

from lefcache.cache import open
from lefcache.cache.hints import spec_flags
from lefcache.corpus import Corpus, Split
from lefcache.errors import MismatchError, ModelError
from lefcache.extract import extract, load_backbone

FRAME = "<s> very {text} no </s> yes it"


def load(folder, **settings):
    return load_backbone(str(folder), dtype="float32", device="cpu", **settings)


def test_a_text_is_read_as_the_tokenizer_itself_would_put_it(chatty):
    backbone = load(chatty, chat_template="own")
    assert backbone.spec.chat_template == FRAME
    [encoded] = backbone.tokenize(["a cat"])
    message = [{"role": "user", "content": "a cat"}]
    own = backbone.tokenizer.apply_chat_template(message, add_generation_prompt=True)
    assert list(encoded.ids) == own["input_ids"]
    assert (encoded.bos, encoded.cut, encoded.skip) == (True, False, 0)


def test_a_long_text_is_cut_and_its_frame_is_not(chatty):
    backbone = load(chatty, chat_template="own", max_length=9)
    short, long = backbone.tokenize(["a cat", "a cat sat on the mat"])
    words = backbone.tokenizer.convert_ids_to_tokens(long.ids)
    assert words == ["<s>", "very", "a", "cat", "sat", "no", "</s>", "yes", "it"]
    assert (short.cut, long.cut) == (False, True)


def test_a_prompt_stands_inside_the_message(chatty):
    [encoded] = load(chatty, chat_template="own", prompt="it is ").tokenize(["bad"])
    [same] = load(chatty, chat_template="own").tokenize(["it is bad"])
    assert encoded == same


def test_a_template_of_ones_own_needs_no_other(model_folder):
    [encoded] = load(model_folder("llama"), chat_template="<s> the {text} film").tokenize(["bad"])
    [plain] = load(model_folder("llama")).tokenize(["the bad film"])
    assert encoded.ids == plain.ids


def test_an_empty_text_is_its_frame(chatty):
    [encoded] = load(chatty, chat_template="own").tokenize([""])
    assert len(encoded) == 6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"chat_template": "<s> no text"}, r"\{text\} 0 times"),
        ({"chat_template": "{text} and {text}"}, r"\{text\} 2 times"),
        ({"chat_template": "own", "instruction": "it is "}, "give it as the prompt"),
        ({"chat_template": "own", "truncation_side": "left"}, "cut long texts on the right"),
        ({"chat_template": "own", "max_length": 6}, "no room for text"),
    ],
)
def test_what_cannot_be_read_is_refused(settings, words, chatty):
    with pytest.raises(ModelError, match=words):
        load(chatty, **settings)


def test_a_template_that_refuses_a_message_is_an_error_of_ours(chatty):
    (chatty / "chat_template.jinja").write_text("{{ raise_exception('tools only') }}")
    with pytest.raises(ModelError, match=r"refuses a user.s message .tools only."):
        load(chatty, chat_template="own")


def test_an_empty_text_in_an_empty_frame_is_one_token(model_folder):
    [encoded] = load(model_folder("llama"), chat_template="{text}").tokenize([""])
    assert len(encoded) == 1


def test_a_model_without_a_template_says_so(model_folder):
    with pytest.raises(ModelError, match="llama has no chat template"):
        load(model_folder("llama"), chat_template="own")


def test_the_frame_is_part_of_what_a_cache_is(chatty, tmp_path):
    cache = open(tmp_path / "cache")
    corpus = Corpus("tiny", (), {"train": Split(["a cat", "no"])})
    extract(load(chatty, chat_template="own"), corpus, cache)
    assert cache.spec("chatty").chat_template == FRAME
    assert spec_flags(cache.spec("chatty"))[:2] == ["--chat-template", FRAME]
    with pytest.raises(MismatchError, match="chat_template"):
        extract(load(chatty), corpus, cache)


ESCAPING = {
    "attributes of Python": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('id') }}",
    "a file": "{% include '/etc/passwd' %}",
    "a change of what it is given": "{{ messages.append(1) }}",
    "ranges without end": "{% for x in range(10**12) %}x{% endfor %}",
    "nothing by nothing": "{{ 1 // 0 }}",
    "another kind": "{{ messages + 1 }}",
    "no template": "{% if %}",
    "what is not there": "{{ messages[7].content.strip() }}",
    "itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
}


@pytest.mark.parametrize("name", ESCAPING)
def test_a_chat_template_of_a_stranger_runs_nothing(chatty, name):
    tokenizer = json.loads((chatty / "tokenizer_config.json").read_text())
    (chatty / "tokenizer_config.json").write_text(
        json.dumps(tokenizer | {"chat_template": ESCAPING[name]})
    )
    (chatty / "chat_template.jinja").unlink(missing_ok=True)
    with pytest.raises(ModelError, match="chat template"):
        load(chatty, chat_template="own")
