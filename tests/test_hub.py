"""Data sets of the hub, from made-up copies in the format that `datasets` keeps on disk."""

import builtins
from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest
from huggingface_hub import errors as hub_errors

from lefcache.aliases import HUB, HUB_ID, hub_entry
from lefcache.columns import Reading
from lefcache.corpus import read_corpus
from lefcache.errors import CorpusError
from lefcache.hub import download_command, downloads, is_here, load_hub

HERE, THERE = "1" * 40, "2" * 40


def texts(split, count, label=None, column="text"):
    labels = [number % 2 for number in range(count)] if label is None else [label] * count
    return {column: [f"{split} {number}" for number in range(count)], "label": labels}


@pytest.fixture
def sst2(hub_data):
    hub_data(
        "stanfordnlp/sst2",
        classes=("negative", "positive"),
        train=texts("train", 6, column="sentence"),
        validation=texts("validation", 4, column="sentence"),
        test=texts("test", 3, label=-1, column="sentence"),
    )


@pytest.fixture
def online(monkeypatch):
    """The hub can be asked; `online(found)` is what a download gives, or raises."""

    def answer(found=None, asked=None):
        def ask(*_, **__):
            if asked:
                raise asked

        def download(*words, **settings):
            download.calls.append((*words, settings))
            if isinstance(found, Exception):
                raise found
            return found

        download.calls = []
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", ask)
        monkeypatch.setattr(datasets, "load_dataset", download)
        return download.calls

    return answer


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub-data"))


# Reading


def test_validation_serves_as_test_for_sst2_and_it_is_said(sst2):
    corpus = read_corpus("sst2")
    assert repr(corpus) == "<Corpus sst2: train 6, test 4 rows, 2 classes>"
    assert corpus.classes == ("negative", "positive")
    assert corpus.splits["test"].texts[0] == "validation 0"
    assert corpus.splits["test"].labels.tolist() == [0, 1, 0, 1]
    assert (corpus.source, corpus.options) == ("sst2", {})
    said = "\n".join(corpus.describe())
    assert "validation serve as test" in said
    assert "89 %" in said


def test_a_hub_id_is_read_as_it_is_and_a_split_of_minus_ones_is_unlabelled(sst2):
    corpus = read_corpus("sst2-dev=stanfordnlp/sst2")
    assert repr(corpus) == "<Corpus sst2-dev: train 6, validation 4, test 3 rows, 2 classes>"
    assert corpus.splits["test"].labels is None
    assert corpus.source == "sst2-dev=stanfordnlp/sst2"
    assert read_corpus("stanfordnlp/sst2").name == "sst2"


def test_a_corpus_is_read_again_from_its_source_and_options(hub_data):
    rows = {"a": ["x", "y"], "b": [1, 2], "mood": ["good", "bad"]}
    hub_data("org/Pairs", config="en", train=rows, test=rows)
    given = {
        "config": "en",
        "template": "{a}/{b}",
        "label_column": "mood",
        "data_revision": "0" * 40,
    }
    corpus = read_corpus("org/Pairs", **given)
    assert corpus.splits["train"].texts == ["x/1", "y/2"]
    assert corpus.classes == ("bad", "good")
    assert Reading.from_flags(corpus.options) == Reading(**given)
    again = read_corpus(
        corpus.source, **{k.replace("-", "_"): v for k, v in corpus.options.items()}
    )
    assert again.splits["train"].hashes.tolist() == corpus.splits["train"].hashes.tolist()


def test_a_path_of_that_name_wins(sst2, write_tsv, monkeypatch, tmp_path):
    write_tsv("sst2", train=[("mine", "yes")])
    monkeypatch.chdir(tmp_path)
    corpus = read_corpus("sst2")
    assert corpus.splits["train"].texts == ["mine"]
    assert corpus.source == str((tmp_path / "sst2").resolve())


def test_a_short_name_may_be_kept_under_another(sst2):
    corpus = read_corpus("films=sst2")
    assert (corpus.name, corpus.source, list(corpus.splits)) == (
        "films",
        "films=sst2",
        ["train", "test"],
    )
    assert read_corpus("mine=demo").source == "mine=demo"


def test_columns_and_templates_of_a_short_name_can_be_replaced(hub_data):
    rows = {"label": [0, 1], "title": ["t", "u"], "content": ["c", "d"]}
    hub_data("fancyzhx/amazon_polarity", config="amazon_polarity", classes="np", train=rows)
    assert read_corpus("amazon").splits["train"].texts == ["t\nc", "u\nd"]
    assert read_corpus("amazon", text_column="content").splits["train"].texts == ["c", "d"]
    assert read_corpus("amazon", template="{title}").splits["train"].texts == ["t", "u"]


def test_missing_texts_are_refused_and_missing_labels_are_none(hub_data):
    hub_data("org/some", train={"text": ["a", "b"], "label": [None, 1]}, classes="np")
    assert read_corpus("org/some").splits["train"].labels.tolist() == [-1, 0]
    hub_data("org/texts", train={"text": ["a", None], "label": ["x", "y"]})
    with pytest.raises(
        CorpusError, match="org/texts, split train: row 1, column 'text', has nothing"
    ):
        read_corpus("org/texts")


def test_splits_are_known_by_their_usual_names_and_others_are_said(hub_data):
    hub_data("org/x", train=texts("t", 2), dev=texts("d", 2), unsupervised=texts("u", 2))
    corpus = read_corpus("org/x")
    assert list(corpus.splits) == ["train", "validation"]
    assert "not read: unsupervised" in corpus.describe()


def test_nothing_is_printed(sst2, capfd):
    read_corpus("sst2")
    assert capfd.readouterr() == ("", "")


def test_the_settings_of_datasets_stay_as_they_were(sst2):
    before = datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()
    read_corpus("sst2")
    assert (datasets.logging.get_verbosity(), datasets.are_progress_bars_disabled()) == before


def test_it_works_in_a_process_of_its_own_with_the_variables_alone(sst2, python, tmp_path):
    code = "import lefcache; print(lefcache.read_corpus('sst2'))"
    shown = python(code, HF_HUB_OFFLINE="1", HF_DATASETS_CACHE=str(tmp_path / "hub-data"))
    assert "train 6, test 4 rows" in shown


# What is on this machine


def test_a_copy_is_used_without_asking_the_hub(sst2, online):
    calls = online(AssertionError("downloaded"), asked=AssertionError("asked"))
    assert len(read_corpus("sst2").splits["train"]) == 6
    assert calls == []


def test_a_commit_that_is_here_is_used_and_another_is_refused(hub_data):
    hub_data("org/x", train=texts("t", 2), commit=HERE)
    assert len(read_corpus("org/x", data_revision=HERE).splits["train"]) == 2
    with pytest.raises(CorpusError, match=rf"at {HERE};.* this is {THERE}.*revision='{THERE}'"):
        read_corpus("org/x", data_revision=THERE)


def test_of_two_copies_the_one_that_was_asked_for_is_read(hub_data, online):
    hub_data("org/RottenThings", train=texts("t", 2), commit=HERE)
    hub_data("org/RottenThings", train=texts("t", 3), commit=THERE)
    assert len(read_corpus("org/RottenThings", data_revision=HERE).splits["train"]) == 2
    assert len(read_corpus("org/RottenThings", data_revision=THERE).splits["train"]) == 3
    with pytest.raises(CorpusError, match=rf"{HERE} and {THERE}; .*which is meant"):
        read_corpus("org/RottenThings")
    online(datasets.DatasetDict(train=datasets.Dataset.from_dict(texts("new", 5))))
    assert len(read_corpus("org/RottenThings").splits["train"]) == 5


def test_a_branch_may_have_moved_on_so_the_hub_is_asked_if_it_can_be(hub_data, online):
    hub_data("org/x", train=texts("t", 2))
    with pytest.raises(CorpusError, match="cannot be told that this is main: choose"):
        read_corpus("org/x", data_revision="main")
    fresh = datasets.DatasetDict(train=datasets.Dataset.from_dict(texts("new", 5)))
    calls = online(fresh)
    assert len(read_corpus("org/x", data_revision="main").splits["train"]) == 5
    assert calls == [("org/x", None, {"revision": "main", "cache_dir": str(downloads())})]


def test_a_configuration_nobody_named_is_not_guessed_where_the_hub_can_be_asked(hub_data, online):
    hub_data("nyu-mll/glue", config="sst2", train=texts("t", 2))
    online(ValueError("Config name is missing. Please pick one among: ['cola', 'sst2']"))
    with pytest.raises(CorpusError, match=r"'cola', 'sst2'.*name it with --config"):
        read_corpus("nyu-mll/glue")


def test_a_configuration_that_is_not_here_lists_those_that_are(hub_data):
    hub_data("nyu-mll/glue", config="sst2", train=texts("t", 2))
    with pytest.raises(CorpusError, match=r"\['sst2'\].*name one with --config.*'cola'\)\""):
        read_corpus("nyu-mll/glue", config="cola")
    hub_data("nyu-mll/glue", config="mrpc", train=texts("t", 2))
    with pytest.raises(CorpusError, match=r"multiple .*mrpc.*name one with --config"):
        read_corpus("nyu-mll/glue")


@pytest.mark.parametrize("name", ["trec", "sst2", "r8", "massive", "ledgar"])
def test_whether_a_data_set_is_here_is_known_without_reading_it(hub_data, name):
    entry = HUB[name]
    assert not is_here(entry)
    hub_data(entry.id, config="another", train=texts("t", 1))
    assert is_here(entry) == (not entry.reading.config)
    hub_data(entry.id, config=entry.reading.config or "default", train=texts("t", 1))
    assert is_here(entry)


def test_a_download_that_was_interrupted_is_not_here(hub_data):
    hub_data("stanfordnlp/sst2", train=texts("t", 1), commit="0" * 40 + ".incomplete")
    assert not is_here(HUB["sst2"])


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_DATASETS_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/datasets"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/datasets"),
    ],
)
def test_downloads_are_where_datasets_keeps_them(monkeypatch, variables, folder, python):
    for name in ("HF_DATASETS_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(downloads()) == folder
    assert python("import datasets; print(datasets.config.HF_DATASETS_CACHE)").strip() == folder


# Refusals


def test_the_offline_error_names_the_command_that_downloads():
    with pytest.raises(CorpusError) as caught:
        read_corpus("ledgar", data_revision="main")
    message = str(caught.value)
    command = download_command(
        "coastalcph/lex_glue", Reading(config="ledgar", data_revision="main")
    )
    assert command in message
    assert command == (
        'python -c "from datasets import load_dataset; '
        "load_dataset('coastalcph/lex_glue', 'ledgar', revision='main')\""
    )
    assert "HF_HUB_OFFLINE is set" in message
    assert "HF_HOME" in message
    assert message.startswith("--data ledgar stands for coastalcph/lex_glue: ")
    with pytest.raises(CorpusError, match=r"^there is no folder 'coastalcph/lex_glue'"):
        read_corpus("coastalcph/lex_glue")


def test_a_hostile_configuration_stays_a_word_of_the_command():
    command = download_command("org/x", Reading(config='$(rm -rf ~)"'))
    assert command.startswith("python -c '")
    assert '"$(rm' not in command.split("load_dataset(", 1)[0]


def failure(kind):
    response = SimpleNamespace(headers={}, status_code=404, request=None, url="")
    return kind("no", response=response)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (failure(hub_errors.RepositoryNotFoundError), "no folder 'org/x' here, and the hub has no"),
        (failure(hub_errors.RevisionNotFoundError), "no revision 'v9': check --data-revision"),
        (failure(hub_errors.GatedRepoError), "is gated: accept its terms at .*org/x, then run"),
        (failure(hub_errors.HfHubHTTPError), r"cannot be reached \(no.*run python -c"),
        (ConnectionError("down"), r"cannot be reached \(down\): where there is a network"),
    ],
)
def test_what_the_hub_answers_becomes_what_helps(online, monkeypatch, asked, message):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    online(asked=asked)
    with pytest.raises(CorpusError, match=message):
        read_corpus("org/x", data_revision="v9")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("Dataset scripts are no longer supported, but found x.py"),
            "made by a script.*--data-revision refs/convert/parquet",
        ),
        (
            ValueError("BuilderConfig 'x' not found. Available: ['a', 'b']"),
            r"\['a', 'b'\].*--config",
        ),
        (
            datasets.exceptions.DatasetNotFoundError(
                "Dataset 'org/x' is a gated dataset on the Hub."
            ),
            "hf auth login",
        ),
        (
            datasets.exceptions.DatasetGenerationError("odd {files}"),
            r"cannot be read \(odd {files}",
        ),
        (OSError("disk full"), r"cannot be read \(disk full\)"),
    ],
)
def test_what_a_download_says_becomes_what_helps(online, error, message):
    online(error)
    with pytest.raises(CorpusError, match=message):
        read_corpus("org/x")


@pytest.mark.parametrize("data", ["stt2", "agnews", "dmo"])
def test_a_misspelt_short_name_is_recognized(data):
    meant = {"stt2": "sst2", "agnews": "ag_news", "dmo": "demo"}[data]
    with pytest.raises(CorpusError, match=f"did you mean {meant}"):
        read_corpus(data)


@pytest.mark.parametrize("data", ["nosuchthing", "a/b/c", "./a/b", "~/x", "/a/b", "x=a", "a /b"])
def test_what_can_be_no_hub_id_is_refused_without_the_network(online, data):
    online(asked=AssertionError("asked"))
    with pytest.raises(CorpusError, match="no data at"):
        read_corpus(data)


def test_a_data_set_without_a_usual_split_lists_its_own(hub_data):
    hub_data("org/x", everything=texts("t", 2))
    with pytest.raises(CorpusError, match=r"no split train, validation or test: it has everything"):
        read_corpus("org/x")


def test_a_missing_column_is_refused_with_those_that_are_there(hub_data):
    hub_data("org/x", train={"body": ["a"], "label": [1]})
    with pytest.raises(CorpusError, match=r"it has body, label; name one with --text-column"):
        read_corpus("org/x")
    with pytest.raises(CorpusError, match=r"no column 'nope': it has body, label"):
        read_corpus("org/x", text_column="body", label_column="nope")


def test_without_the_library_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CorpusError, match=r'run pip install -e "\.\[hub\]" in the checkout'):
        load_hub(HUB["sst2"], Reading())


# The registry


@pytest.mark.parametrize("name", HUB)
def test_every_short_name_is_well_formed(name):
    entry = hub_entry(name)
    assert HUB_ID.fullmatch(entry.id)
    assert set(entry.splits) <= {"train", "validation", "test"}
    assert entry.splits["train"] == "train"
    assert "test" in entry.splits
    assert entry.classes >= 2
    assert all(note[0].islower() or note[0].isdigit() for note in entry.notes)


def test_mr_and_sst2_say_how_they_differ_from_the_papers():
    assert "TextGCN" in HUB["mr"].notes[0]
    assert "validation" in HUB["sst2"].notes[0]
