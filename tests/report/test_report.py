import json
import re
import shlex
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from lefcache.cache import open as open_cache
from lefcache.errors import FeatureError, LefError, StorageError
from lefcache.report import report
from lefcache.report.gather import gather
from lefcache.report.summary import every_result
from tests.report.conftest import CLASSES, HOSTILE, MARKUP


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of its scripts and cells."""

    def __init__(self, html):
        super().__init__()
        self.found, self.scripts, self.text, self.within = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.within.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if self.within and self.within[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text.append(data)

    @property
    def charts(self):
        return json.loads(self.scripts[0])


@pytest.fixture(scope="module")
def made(hostile, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    written = report(hostile, file)
    return written, Elements(file.read_text("utf-8"))


def test_every_question_that_was_asked_has_its_chart(made):
    written, page = made
    questions = ("layers", "operators", "learning", "costs", "scale", "mistakes")
    expected = {f"{name}-hostile" for name in questions}
    expected |= {f"scale-hostile-{cost}" for cost in ("bytes", "megabytes", "embed", "predict")}
    assert set(written.charts) == expected == set(page.charts)
    assert {dict(attrs).get("id") for tag, attrs in page.found if tag == "figure"} == expected


def test_a_question_that_was_not_asked_shows_its_command(made):
    written, page = made
    assert written.missing.keys() == {"pairs", "transfer"}
    assert "".join(page.text).count("lef pairs --models A,B") == 1


def test_nothing_is_asked_for_elsewhere(made):
    _, page = made
    for tag, attrs in page.found:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img"), attrs
        assert not {"src", "srcset", "background"} & set(attrs), (tag, attrs)
        assert attrs.get("href", "#").startswith("#")
    [policy] = [a["content"] for t, a in page.found if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_what_comes_from_outside_stays_text(made):
    _, page = made
    assert len(page.scripts) == 3  # the charts, their library and ours
    assert not [attrs for _, attrs in page.found if any(name.startswith("on") for name in attrs)]
    text = "".join(page.text)
    assert HOSTILE in text
    assert MARKUP in text
    assert CLASSES[2] in text
    assert "<" not in page.scripts[0]
    squares = page.charts["mistakes-hostile"]["datasets"]
    assert HOSTILE in {row["truth"] for rows in squares.values() for row in rows}


def test_a_name_is_never_part_of_an_expression(made):
    _, page = made
    for chart in page.charts.values():
        without = json.dumps({name: value for name, value in chart.items() if name != "datasets"})
        for expression in re.findall(r'"(?:filter|test|expr|calculate)": "([^"]*)"', without):
            assert "script" not in expression
            assert "hostile" not in expression


def test_every_accuracy_has_its_n_and_interval(made):
    _, page = made
    for name, low, high, n in (
        ("layers-hostile", "low", "high", "n"),
        ("operators-hostile", "test_low", "test_high", "n_test"),
        ("learning-hostile", "test_low", "test_high", "n_test"),
        ("costs-hostile", "test_low", "test_high", "n_test"),
        ("scale-hostile", "test_low", "test_high", "n_test"),
        ("scale-hostile-predict", "test_low", "test_high", "n_test"),
    ):
        rows = max(page.charts[name]["datasets"].values(), key=len)
        value = "accuracy" if name.startswith("layers") else "test"
        for row in rows:
            assert row[low] <= row[value] <= row[high], (name, row)
            assert row[n] > 0


def test_every_command_makes_its_result_again(hostile):
    commands = {each.command for each in gather(hostile).studies if each.result.kind != "baseline"}
    before = sorted(file.name for file in hostile.results.rglob("*.json"))
    for command in commands:
        words = shlex.split(command)
        extra = [] if words[1] in ("scale", "select") else ["--no-baselines"]
        ran = CliRunner().invoke(main, [*words[1:], *extra, "--json"])
        assert ran.exit_code == 0, (command, ran.output)
        made = json.loads(ran.stdout)
        anew = words[1] == "select"  # chosen again, and kept instead
        assert anew or all(each["cached"] for each in made.get("steps", [made])), command
    assert sorted(file.name for file in hostile.results.rglob("*.json")) == before


def test_one_corpus_or_model_can_be_asked_for(hostile, tmp_path):
    written = report(hostile, tmp_path / "one.html", data="hostile", models=["one"])
    assert "operators-hostile" not in written.charts
    assert "layers-hostile" in written.charts
    with pytest.raises(FeatureError, match="no model 'nobody'"):
        gather(hostile, models=["nobody"])
    with pytest.raises(FeatureError, match="no corpus 'nowhere'"):
        gather(hostile, data="nowhere")


@pytest.mark.parametrize(("format", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG")])
def test_the_charts_as_files(hostile, tmp_path, format, begins):
    folder = tmp_path / "figures"
    written = report(hostile, tmp_path / "r.html", models=["one"], figures=folder, format=format)
    assert sorted(written.figures) == sorted(str(file) for file in folder.iterdir())
    assert [Path(file).stem for file in written.figures] == written.charts
    for file in folder.iterdir():
        assert file.read_bytes().startswith(begins)
        assert b"var(--" not in file.read_bytes()  # colours of a page


def test_an_empty_cache_says_how_to_begin(tmp_path):
    (cache := tmp_path / "none").mkdir()
    written = report(open_cache(cache), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for command in ("extract --model minilm", "sweep --models MODEL", "pairs --models A,B"):
        assert f"lef {command} --cache {cache}" in page
    assert written.charts == []
    assert len(written.missing) == 9


def test_a_cache_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"there is no cache .*typo: check what --cache says"):
        report(open_cache(tmp_path / "typo"), tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


@pytest.fixture
def copied(hostile, tmp_path):
    """A copy of the cache, to be changed."""
    shutil.copytree(hostile.path, tmp_path / "copy")
    return open_cache(tmp_path / "copy")


def test_what_is_damaged_or_foreign_is_left_out_with_a_note(copied, stored, tmp_path):
    damaged = sorted(copied.results.rglob("*.json"))[0]
    damaged.write_text("{")
    stored(copied, "fuse", {"features": ["<b>:1"]}, features=["<b>:1"])
    stored(copied, "riddle", {"n_train": 3})
    written = report(copied, tmp_path / "r.html")
    assert len(written.notes) >= 2
    assert any(damaged.name in note for note in written.notes)
    assert "<b>:1" not in (tmp_path / "r.html").read_text()


def test_a_source_that_is_gone_costs_the_texts_only(copied, tmp_path):
    gone = copied["hostile"].attrs["source"].partition("=")[2]
    moved = Path(gone).rename(tmp_path / "moved")
    try:
        report(copied, tmp_path / "r.html")
    finally:
        moved.rename(gone)
    text = "".join(Elements((tmp_path / "r.html").read_text()).text)
    assert "No texts: the texts of hostile are not on this machine" in text
    assert MARKUP not in text


def test_what_is_stale_says_so(copied, tmp_path):
    for file in copied.results.glob("hostile/*.json"):
        document = json.loads(file.read_text())
        document["payload"]["splits"]["test"]["texts"] = "0" * 16
        file.write_text(json.dumps(document))
    report(copied, tmp_path / "r.html")
    text = "".join(Elements((tmp_path / "r.html").read_text()).text)
    assert text.count("stale: the texts of test changed since") > 10
    assert "No matrix: the texts of test changed since" in text


def test_what_was_scored_on_no_test_has_no_n(stored, tmp_path):
    cache = open_cache(tmp_path / "cache")
    values = {"singles": [{"feature": "m:1"}], "rows": [], "n_train": 9, "n_test": 0}
    stored(cache, "pairs", values, features=["m:1"])
    [line] = every_result(gather(cache))["hostile"]
    assert (line["kind"], line["n_train"], line["n_test"]) == ("pairs", "9", "")


def test_a_folder_that_cannot_be_written_is_one_line(hostile, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        report(hostile, tmp_path / "file" / "r.html", models=["one"])


def test_without_the_extra_a_line_says_what_installs_it(hostile, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(LefError, match=r"charts need altair and vl-convert.*\[report\]"):
        report(hostile, tmp_path / "r.html")
