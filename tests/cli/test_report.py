import pytest

from cli.report import FORMATS
from lefcache.report import FORMATS as KNOWN


@pytest.fixture
def swept(lef, fakes, texts):
    fakes(depth=5)
    assert lef("extract", "--data", texts, "--model", "one", "--model", "two").code == 0
    assert lef("sweep", "--models", "one", "--show-test").code == 0
    return lef


def test_the_users_own_command_writes_a_page(swept, tmp_path):
    ran = swept("report", "-o", "report.html")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("Wrote report.html: 1 chart of ")
    assert "nothing on pairs yet; this makes it: lef pairs --models A,B" in ran.out
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "lef sweep --data reviews --models one:0..5,one:last --show-test" in page


def test_json_says_what_was_written(swept, tmp_path):
    words = ("--figures", "figures", "--format", "png", "--data", "reviews", "--models", "one")
    ran = swept("report", "-o", "there/r.html", *words, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["bytes"] == (tmp_path / "there" / "r.html").stat().st_size
    assert ran.json["charts"] == ["layers-reviews"]
    assert ran.json["figures"] == ["figures/layers-reviews.png"]
    assert (tmp_path / "figures" / "layers-reviews.png").read_bytes().startswith(b"\x89PNG")


def test_a_title_of_ones_own(swept, tmp_path):
    assert swept("report", "--title", "Reviews & <ratings>").code == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<title>Reviews &amp; &lt;ratings&gt; · lefcache report</title>" in page


def test_a_model_that_is_not_there_is_one_line(swept):
    ran = swept("report", "--models", "one,three")
    assert ran.code == 1
    assert "Error: no model 'three'" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_the_formats_are_those_of_the_library():
    assert FORMATS == KNOWN
