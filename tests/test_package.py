"""The public names, and that nothing heavy is imported before it is needed."""

import os
import pickle
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import lefcache
from lefcache import errors

ROOT = Path(__file__).resolve().parent.parent


def imported(python, statement, *packages):
    """Which of the packages a statement imports, in a fresh process."""
    code = f"import sys\n{statement}\nprint(*[p for p in {packages!r} if p in sys.modules])"
    return python(code).split()


@pytest.mark.parametrize(
    "name", ["Cache", "Corpus", "Feature", "LefError", "__version__", "open", "read_corpus"]
)
def test_public_names_are_there(name):
    assert name in lefcache.__all__
    assert name in dir(lefcache)
    assert getattr(lefcache, name) is not None


def test_every_public_name_can_be_had():
    assert all(hasattr(lefcache, name) for name in lefcache.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = lefcache.nope


def test_the_version_is_that_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert settings["project"]["dynamic"] == ["version"]
    assert lefcache.__version__.count(".") >= 2


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A folder with what the wheel would install."""
    from hatchling.builders.wheel import WheelBuilder

    made = tmp_path_factory.mktemp("dist")
    [file] = WheelBuilder(str(ROOT)).build(directory=str(made), versions=["standard"])
    folder = made / "installed"
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("name", ["demo", "tinylm"])
def test_what_is_bundled_is_in_the_wheel_and_found_there(wheel, name):
    inside = wheel / "lefcache" / "data" / name
    tracked = {file.name: file.read_bytes() for file in (ROOT / "data" / name).iterdir()}
    assert {file.name: file.read_bytes() for file in inside.iterdir()} == tracked
    code = f"from lefcache.bundled import bundled; print(bundled({name!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=wheel,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(inside)


HEAVY = ("numpy", "zarr", "torch", "transformers", "h5py", "click", "rich", "datasets")


@pytest.mark.parametrize(
    ("statement", "kept_out"),
    [
        ("import lefcache", HEAVY),
        ("import lefcache.feature, lefcache.recipe, lefcache.spec", HEAVY),
        (
            "import lefcache; lefcache.open, lefcache.read_corpus",
            ("torch", "transformers", "datasets"),
        ),
        ("import lefcache.cache", ("torch", "transformers", "accelerate", "click", "rich")),
        ("import lefcache.vectors", ("torch", "transformers", "click", "rich")),
        (
            "import lefcache.train",
            *[("transformers", "accelerate", "lefcache.extract", "sklearn", "huggingface_hub")],
        ),
        ("import lefcache.extract", HEAVY),
        ("import lefcache.extract.models", HEAVY),
        (
            "from lefcache.extract import extract, load_backbone",
            ("lefcache.train", "lefcache.study", "click", "rich"),
        ),
        (
            "import lefcache; lefcache.open('nowhere').ls()",
            ("torch", "transformers", "zarr", "h5py", "click", "rich"),
        ),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(python, statement, kept_out):
    assert imported(python, statement, *kept_out) == []


def test_the_diagram_of_imports_holds():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


ERRORS = [each for each in vars(errors).values() if isinstance(each, type)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: each.__name__)
def test_every_error_is_a_lef_error_that_prints_its_message(error):
    assert issubclass(error, errors.LefError)
    assert str(error("what to do")) == "what to do"
    assert str(pickle.loads(pickle.dumps(error("what to do")))) == "what to do"
    assert error is errors.LefError or error.__name__ in errors.__doc__


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.CorpusError, ValueError),
        (errors.FeatureError, LookupError),
        (errors.FeatureError, KeyError),
        (errors.ModelError, ValueError),
        (errors.VectorsError, ValueError),
        (errors.MismatchError, ValueError),
        (errors.StorageError, OSError),
        (errors.NotFiniteError, ArithmeticError),
    ],
)
def test_errors_are_what_python_would_raise_too(error, builtin):
    assert issubclass(error, builtin)
