import json
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

import lefcache.extract
from cli.main import main
from lefcache.testing import FakeBackbone


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def lef(monkeypatch, tmp_path):
    """Run `lef` in an empty folder and keep what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def fakes(monkeypatch):
    """Every model is a FakeBackbone of this depth; names are what the user wrote."""

    def install(depth=3, on_forward=None):
        def load(model, *, name=None, **settings):
            given = name or model.partition("=")[0]
            settings.pop("device", None)
            length = settings.get("max_length", 512)
            return FakeBackbone(depth, 2, name=given, max_length=length, on_forward=on_forward)

        monkeypatch.setattr(lefcache.extract, "load_backbone", load)

    install()
    return install


@pytest.fixture
def texts(tmp_path):
    """A folder with train and test: 40 and 10 texts of two classes that differ in length."""
    folder = tmp_path / "Reviews"
    folder.mkdir()
    for split, rows in (("train", 40), ("test", 10)):
        lines = [f"{'word ' * (1 + i % 7 + 8 * (i % 2))}{i}\t{'ny'[i % 2]}" for i in range(rows)]
        (folder / f"{split}.tsv").write_text("\n".join(["text\tlabel", *lines, ""]))
    return folder
