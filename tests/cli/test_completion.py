import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from cli.main import COMMANDS, main
from lefcache.aliases import HUB


@pytest.fixture
def extracted(lef, fakes, texts):
    for model in ("one", "two"):
        assert lef("extract", "--data", texts, "--model", model, "--pool", "max").code == 0
    return lef


def completed(line):
    """What the last word of a line may become; a line that ends in a blank has an empty one."""
    *words, last = line.split(" ")
    shell = ShellComplete(main, {}, "lef", "_LEF_COMPLETE")
    return [item.value for item in shell.get_completions(words[1:], last) if item.type == "plain"]


LAYERS = ["0", "1", "2", "3", "last", "all"]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("lef sw", ["sweep"]),
        ("lef sweep --models ", ["one", "one:", "two", "two:"]),
        ("lef sweep --models tw", ["two", "two:"]),
        ("lef sweep --models one:", [f"one:{layer}" for layer in LAYERS]),
        ("lef fuse --models one:1,two:l", ["one:1,two:last"]),
        ("lef fuse --models one:1@", ["one:1@max"]),
        ("lef fuse --models nope:", []),
        ("lef fuse --data reviews --models on", ["one", "one:"]),
        ("lef fuse --data other --models on", []),
        ("lef fuse --cache nowhere --models on", []),
        ("lef sweep --data ", ["reviews", "demo", *HUB]),
        ("lef data ag", ["ag_news"]),
        ("lef sweep --data ./", []),
        ("lef show reviews/o", ["reviews/one", "reviews/one/train", "reviews/one/test"]),
        ("lef extract --model mis", ["mistral"]),
        ("lef extract --model mine=mis", ["mine=mistral"]),
        ("lef extract --pool m", ["mean", "mean_nobos", "max"]),
        ("lef import mine x.npy --pool o", ["own"]),
        ("lef extract --splits ", ["train", "validation", "test"]),
        ("lef extract --splits train,t", ["train,test"]),
        ("lef import mine x.npy --split v", ["validation"]),
        ("lef models qw", ["qwen2.5", "qwen3"]),
        ("lef completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_words_become_what_is_there(extracted, line, values):
    assert completed(line) == values


def test_of_several_corpora_every_model_is_offered_until_one_is_chosen(extracted, texts):
    assert extracted("extract", "--data", f"more={texts}", "--model", "three").code == 0
    assert completed("lef sweep --models t") == ["three", "three:", "two", "two:"]
    assert completed("lef sweep --data more --models t") == ["three", "three:"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"zarr_format": 3, "node_type": "group"}'])
@pytest.mark.parametrize("place", ["", "reviews", "reviews/one", "reviews/one/train"])
def test_a_damaged_cache_completes_to_nothing_and_never_fails(extracted, place, content):
    lines = ("lef sweep --models ", "lef sweep --models one:", "lef show ", "lef sweep --data ")
    whole = {line: completed(line) for line in lines}
    Path("lef-cache", place, "zarr.json").write_text(content)
    for line in lines:
        assert {*completed(line)} <= {*whole[line]}


def test_files_are_left_to_the_shell():
    shell = ShellComplete(main, {}, "lef", "_LEF_COMPLETE")
    for before in ("import mine", "import mine train.npy"):
        [item] = shell.get_completions(before.split(), "te")
        assert (item.type, item.value) == ("file", "te")


def test_a_folder_is_left_to_the_shell(extracted):
    shell = ShellComplete(main, {}, "lef", "_LEF_COMPLETE")
    [item] = shell.get_completions(["sweep", "--data"], "./te")
    assert (item.type, item.value) == ("dir", "./te")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(lef, shell):
    ran = lef("completion", shell)
    assert ran.code == 0
    assert f"_LEF_COMPLETE={shell}_complete" in ran.out
    assert f"lef completion {shell}" in lef("completion", "--help").out


def test_another_shell_is_a_usage_error(lef):
    assert lef("completion", "tcsh").code == 2


def asked(line, folder):
    """What the answer to bash is, and what was imported for it."""
    code = (
        "import sys; from cli.main import main\n"
        "heavy = {'torch', 'transformers', 'zarr', 'rich'}\n"
        "try: main(prog_name='lef')\n"
        "finally: print(*(heavy & set(sys.modules)), file=sys.stderr)"
    )
    environment = {
        "_LEF_COMPLETE": "bash_complete",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
        "COMP_WORDBREAKS": " :=",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split(), done.stderr.strip()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("lef sweep --models one:l", ["plain,last"]),
        ("lef sweep --models=one:l", ["plain,last"]),
        ("lef sweep --models one:1,tw", ["plain,1,two", "plain,1,two:"]),
        ("lef sweep --models tw", ["plain,two", "plain,two:"]),
        ("lef extract --model größer=mis", ["plain,mistral"]),
        ("lef l", ["plain,ls"]),
    ],
)
def test_bash_is_told_the_piece_that_it_replaces_and_nothing_heavy_is_imported(
    extracted, tmp_path, line, answer
):
    assert asked(line, tmp_path) == (answer, "")


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")
def test_the_script_works_in_bash(lef, tmp_path):
    command = tmp_path / "lef"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cli.main "$@"\n')
    command.chmod(0o755)
    script = f"""
        {lef("completion", "bash").out}
        COMP_LINE="lef extract --model mine=mist" COMP_POINT=29
        COMP_WORDS=(lef extract --model mine = mist) COMP_CWORD=5
        _lef_completion lef
        printf '%s ' "${{COMPREPLY[@]}}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["mistral"]


def test_every_command_completes(lef):
    assert completed("lef ") == list(COMMANDS)
