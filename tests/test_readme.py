import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def run(words, folder):
    here = Path(sys.executable).parent
    env = os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    env.pop("LEF_DATA", None)
    env.pop("LEF_CACHE", None)
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)


def blocks_of(page, language):
    found = re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return "\n".join(code for name, code in found if name == language)


ALONE = "cluster.md"  # needs nothing that the README leaves


@pytest.mark.long
@pytest.mark.parametrize("alone", [False, True], ids=["readme", ALONE])
def test_the_code_blocks_run_one_after_another_as_they_stand(tmp_path, alone):
    """Those of each page of the documentation after those of the README, on what these left."""
    pages = [page for page in PAGES if (page.name == ALONE) is alone]
    for page in pages:
        if commands := blocks_of(page, "sh"):
            shell = run(["bash", "-euc", commands], tmp_path)
            assert shell.returncode == 0, f"{page.name}: {shell.stderr}"
        if script := blocks_of(page, "python"):
            python = run([sys.executable, "-W", "error", "-c", script], tmp_path)
            assert python.returncode == 0, f"{page.name}: {python.stderr}"
    assert blocks_of(pages[0], "sh")
    assert blocks_of(pages[0], "python") or alone


def test_the_two_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"^make (\w+)", README, re.M)
    assert set(named) == {"demo", "test"}
    assert all(re.search(rf"^{name}:", makefile, re.M) for name in named)


def test_torch_is_installed_before_what_would_bring_it_with_all_of_cuda():
    pips = [line for line in README.splitlines() if line.startswith("pip install")]
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (torch,) = (line for line in constraints if line.startswith("torch=="))
    assert pips[0].startswith(f"pip install {torch} --index-url")  # another would be replaced
    assert "lefcache[" not in README  # it is on no package index


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in_and_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert "@@" not in text
    links = re.findall(r"\]\((?!https?://)([^)#]+)", text)
    assert links or page != PAGES[0]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_six_promises_stand_in_the_tests():
    tests = (ROOT / "tests" / "test_promises.py").read_text(encoding="utf-8")
    numbered = re.findall(r"^(\d)\. ", README.partition("## Six promises")[2], re.M)
    assert numbered == list("123456")
    assert all(f"def test_promise_{number}_" in tests for number in numbered)
