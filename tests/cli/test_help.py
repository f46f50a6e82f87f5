import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS, main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_examples_and_a_place_in_the_readme(name, lef):
    help = lef(name, "--help")
    assert help.code == 0
    assert "Examples:" in help.out
    assert f"| `lef {name}" in README
    command = main.get_command(click.Context(main), name)
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_the_help_lists_every_command(lef):
    listed = re.findall(r"^  (\w+)  ", lef("--help").out.partition("Commands:")[2], re.M)
    assert tuple(listed) == tuple(COMMANDS)


def loaded_by(code):
    """Which heavy modules a piece of code imports."""
    heavy = "{'torch', 'transformers', 'zarr', 'numpy', 'h5py', 'rich'}"
    code = f"import sys\n{code}\nprint(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[-2].split()


def test_help_imports_nothing_heavy():
    run = "from click.testing import CliRunner; from cli.main import main\n"
    assert loaded_by(f"{run}assert CliRunner().invoke(main, ['--help']).exit_code == 0") == []
    assert loaded_by(f"{run}assert CliRunner().invoke(main, ['fuse', '-h']).exit_code == 0") == []


def test_ls_imports_neither_torch_nor_transformers(tmp_path):
    run = "from click.testing import CliRunner; from cli.main import main\n"
    words = ["ls", "--cache", str(tmp_path)]
    loaded = loaded_by(f"{run}assert CliRunner().invoke(main, {words}).exit_code == 0")
    assert set(loaded) <= {"numpy", "rich"}


def test_an_unknown_command_is_a_usage_error(lef):
    ran = lef("sweeep")
    assert ran.code == 2
    assert "did you mean sweep?" in ran.err
    assert "there are extract, import, ls" in lef("nothing-like-it").err
    assert "did you mean" not in lef("nothing-like-it").err


def test_the_version_is_the_packages(lef):
    from lefcache import __version__

    assert __version__ in lef("--version").out


def test_choices_of_flags_are_those_of_the_library():
    from lefcache.recipe import OPS
    from lefcache.study import PROBES
    from lefcache.train import FUSIONS

    def choices(name, flag):
        command = main.get_command(click.Context(main), name)
        (option,) = (each for each in command.params if each.name == flag)
        return set(option.type.choices)

    assert choices("sweep", "probe") == set(PROBES)
    assert choices("fuse", "op") == set(OPS)
    assert {op.removesuffix("-res") for op in OPS} == {*FUSIONS, "vote"}
