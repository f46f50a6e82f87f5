"""Tiny models with real tokenizers, corpora in folders, and an environment that cannot surprise."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub
if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are taken, by the other workers
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = [
    "a cat sat on the mat",
    "no",
    "the film was very good",
    "not one of the two was bad and it is a cat on the mat and it was very very good",
    "yes it is",
    "three bad cat film",
    "it was not good and it was not bad",
]
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})

# The same examples every time: a test that fails at random is read by nobody.
settings.register_profile("lefcache", derandomize=True, deadline=None, database=None)
settings.load_profile("lefcache")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("LEF_CACHE", raising=False)
    monkeypatch.delenv("LEF_DATA", raising=False)


def word_tokenizer(opening=None, closing=None, **settings):
    """Whole words to numbers, with the special tokens that a model family puts around a text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "<s>", "</s>", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    around = [token for token in (opening, closing) if token]
    if around:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=" ".join(
                [*([opening] if opening else []), "$A", *([closing] if closing else [])]
            ),
            special_tokens=[(token, vocabulary[token]) for token in around],
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **settings)


def _llama():
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(
        LlamaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=64,
            bos_token_id=2,
            eos_token_id=3,
        )
    )


def _bert():
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=48,
    )
    return BertModel(config, add_pooling_layer=False)


def _t5():
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2, eos_token_id=3
        )
    )


@pytest.fixture(name="word_tokenizer", scope="session")
def _word_tokenizer():
    return word_tokenizer


LLAMA = {"opening": "<s>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "[PAD]"}
FAMILIES = {
    "llama": (_llama, LLAMA),
    "llama-left": (_llama, LLAMA | {"padding_side": "left"}),
    "llama-bare": (_llama, {"eos_token": "</s>"}),  # no BOS, no padding token
    "bert": (
        _bert,
        {
            "opening": "[CLS]",
            "closing": "[SEP]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
        },
    ),
    "t5": (_t5, {"closing": "</s>", "eos_token": "</s>", "pad_token": "[PAD]"}),
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A function that gives the folder of a tiny random model: `model_folder("bert")`."""
    root = tmp_path_factory.mktemp("models")

    def build(family):
        import torch

        folder = root / family
        if not folder.exists():
            make, tokenizer = FAMILIES[family]
            with torch.random.fork_rng():
                torch.manual_seed(5)
                model = make()
                with torch.no_grad():  # fresh norms are all ones, which would hide a missing one
                    for name, weight in model.named_parameters():
                        if "norm" in name.lower():
                            weight.uniform_(0.5, 2.0)
            model.save_pretrained(folder)
            word_tokenizer(**tokenizer).save_pretrained(folder)
        return folder

    return build


CHAT = (
    "{% for message in messages %}<s> very {{ message['content'] }} no </s>{% endfor %}"
    "{% if add_generation_prompt %} yes it{% endif %}"
)


@pytest.fixture
def chatty(model_folder, tmp_path):
    """The folder of a tiny Llama whose tokenizer has a chat template."""
    from transformers import AutoModel, AutoTokenizer

    folder = tmp_path / "chatty"
    AutoModel.from_pretrained(model_folder("llama")).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(model_folder("llama"))
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def backbone(model_folder):
    """A function that loads a tiny model, once per family and settings: `backbone("llama")`."""
    loaded = {}

    def load(family, **settings):
        from lefcache.extract import load_backbone

        key = (family, *sorted(settings.items()))
        if key not in loaded:
            loaded[key] = load_backbone(
                str(model_folder(family)), **({"dtype": "float32", "device": "cpu"} | settings)
            )
        return loaded[key]

    return load


@pytest.fixture
def write_tsv(tmp_path):
    """A function that writes a corpus folder: `write_tsv("name", train=[("a text", "yes")])`."""

    def write(name, header="text\tlabel", **splits):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for split, rows in splits.items():
            lines = [header, *("\t".join(map(str, row)) for row in rows)]
            (folder / f"{split}.tsv").write_bytes("".join(f"{x}\n" for x in lines).encode())
        return folder

    return write


@pytest.fixture
def hub_data(tmp_path, monkeypatch):
    """A function that writes a data set as `datasets` keeps what it has downloaded.

    `hub_data("org/name", train={"text": [...], "label": [...]}, classes=("no", "yes"))`
    """
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub-data"))

    def write(hub_id, *, config="default", classes=None, label="label", commit="0" * 40, **splits):
        from datasets import ClassLabel, Dataset, DatasetInfo, Features, SplitDict, SplitInfo
        from datasets.arrow_writer import ArrowWriter
        from datasets.naming import camelcase_to_snakecase

        owner, name = hub_id.split("/")
        name = camelcase_to_snakecase(name)
        folder = tmp_path / "hub-data" / f"{owner}___{name}" / config / "0.0.0" / commit
        folder.mkdir(parents=True)
        sizes = SplitDict(dataset_name=name)
        for split, columns in splits.items():
            features = Dataset.from_dict(columns).features
            if classes:
                features = Features(features | {label: ClassLabel(names=list(classes))})
            data = Dataset.from_dict(columns, features=features)
            with ArrowWriter(path=str(folder / f"{name}-{split}.arrow"), features=features) as out:
                out.write_table(data.data.table)
                out.finalize()
            sizes.add(SplitInfo(split, num_examples=len(data), dataset_name=name))
        described = {"config_name": config, "dataset_name": name, "version": "0.0.0"}
        info = DatasetInfo(features=features, splits=sizes, builder_name="parquet", **described)
        info.write_to_directory(str(folder))

    return write


def numbered_texts(count, longest=7):
    """`count` different texts of 1 to `longest` words, in no order of length."""
    cycle = itertools.cycle([3, 1, longest, 2, 5])
    return [" ".join([f"w{number}", *["x"] * (next(cycle) - 1)]) for number in range(count)]


@pytest.fixture
def make_corpus():
    """A function that makes a corpus in memory: `make_corpus(20)`, `make_corpus(train=[...])`."""

    def make(count=None, *, name="tiny", source="demo", classes=("no", "yes"), **splits):
        from lefcache.corpus import Corpus, Split

        made = {"train": numbered_texts(count)} if count else {}
        return Corpus(
            name,
            tuple(classes),
            {
                split: Split(list(texts), (np.arange(len(texts)) % len(classes)).astype(np.int32))
                for split, texts in (made | splits).items()
            },
            source,
        )

    return make


@pytest.fixture
def cache(tmp_path):
    """An empty cache."""
    from lefcache.cache import open

    return open(tmp_path / "cache")


@pytest.fixture
def read_only(tmp_path):
    """A function that shows a folder read-only somewhere else, where the system lets us."""
    shown = tmp_path / "read-only"
    shown.mkdir()

    def show(folder):
        if os.geteuid() != 0 or not shutil.which("mount"):
            pytest.skip("mounting needs root")
        for words in (["--bind", str(folder)], ["-o", "remount,bind,ro"]):
            if subprocess.run(
                ["mount", *words, shown], capture_output=True, check=False
            ).returncode:
                pytest.skip("no mounts here")
        return shown

    yield show
    subprocess.run(["umount", "-l", str(shown)], capture_output=True, check=False)


def tree_bytes(folder):
    """{path: bytes} of every file below a folder; what two equal extractions must agree on."""
    folder = Path(folder)
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(name="tree_bytes")
def _tree_bytes():
    return tree_bytes


@pytest.fixture
def before_each_file(monkeypatch):
    """A function that has something called with each file that Zarr's store is about to place."""

    def install(act):
        from zarr.storage import _local

        from lefcache.stores import zarr_store

        def noted(place):
            def placing(path, *given, **named):
                act(path)
                return place(path, *given, **named)

            return placing

        monkeypatch.setattr(_local, "_put", noted(_local._put))
        monkeypatch.setattr(zarr_store, "replace_file", noted(zarr_store.replace_file))

    return install


@pytest.fixture
def python():
    """A function that runs Python code in a fresh process and returns what it printed."""

    def run(code, *arguments, check=True, encoding=None, **variables):
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding=encoding,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout if check else done

    return run


def table(labels, *rows, split="train", classes=("no", "yes"), texts=None, corpus="tiny"):
    """A table in memory, one layer of one model for each matrix."""
    from lefcache.feature import Feature
    from lefcache.rows import Table
    from lefcache.spec import Spec

    count = len(rows[0])
    hashes = np.arange(count) + 1000 * len(split) if texts is None else np.asarray(texts)
    return Table(
        features=tuple(Feature("m", layer) for layer in range(1, len(rows) + 1)),
        rows=tuple(np.asarray(each) for each in rows),
        labels=None if labels is None else np.asarray(labels, np.int32),
        classes=tuple(classes),
        specs=(Spec(),) * len(rows),
        texts=hashes.astype(np.uint64),
        corpus=corpus,
        split=split,
    )


@pytest.fixture
def make_table():
    return table


@pytest.fixture
def split():
    """A function that draws an easy problem: `split(40, widths=(6,), noise=0.3)`."""

    def draw(count, widths=(6,), noise=0.3, seed=0, split="train", classes=2, dtype=np.float16):
        generator = np.random.default_rng((seed, count, len(split)))
        labels = np.arange(count) % classes
        rows = []
        for width in widths:
            centers = np.random.default_rng(width).standard_normal((classes, width))
            rows.append(centers[labels] + noise * generator.standard_normal((count, width)))
        names = tuple("abcdefghij"[:classes])
        return table(labels, *(each.astype(dtype) for each in rows), split=split, classes=names)

    return draw


@pytest.fixture(scope="session")
def s3_server():
    """The address of a real S3 server on loopback."""
    from tests import s3

    with s3.server() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def nodes_s3(s3_server):
    """The S3 server as the workers of `two_nodes` reach it, and what they asked it for."""
    from tests import s3

    with s3.Faulty(s3_server).running() as proxy:
        yield proxy


@pytest.fixture(scope="session")
def two_nodes(nodes_s3, tmp_path_factory):
    """A Ray cluster of two nodes on this machine, to which this process is connected."""
    import ray
    from ray.cluster_utils import Cluster

    from tests import s3

    room = {"num_cpus": 1, "object_store_memory": 80 << 20}
    # By default a node is missed after a quarter of a minute.
    looks = {"_system_config": {"health_check_period_ms": 500}}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(ROOT))
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with pytest.MonkeyPatch.context() as theirs:
            for name, value in s3.CREDENTIALS.items():
                theirs.setenv(name, value)
            theirs.setenv("AWS_ENDPOINT_URL", nodes_s3.address)
            theirs.setenv("LEF_MIRROR", str(tmp_path_factory.mktemp("mirror")))
            # On a machine that has much else to do, it may not begin.
            for left in reversed(range(3)):
                try:
                    cluster = Cluster(initialize_head=True, head_node_args=room | looks)
                    cluster.add_node(**room)
                    break
                except Exception:
                    if not left:
                        raise
        ray.init(cluster.address, log_to_driver=False, logging_level="CRITICAL")
        yield cluster
        ray.shutdown()
        cluster.shutdown()
