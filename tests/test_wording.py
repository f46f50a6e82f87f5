import os
import shlex
import subprocess

import pytest

from lefcache.wording import command_line, count, did_you_mean, shown, some


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 texts"), (1, "1 text"), (2, "2 texts"), (1802, "1,802 texts")]
)
def test_one_is_singular(number, words):
    assert count(number, "text") == words


def test_an_odd_plural_is_given():
    assert (count(1, "batch", "batches"), count(3, "batch", "batches")) == ("1 batch", "3 batches")


def test_of_many_names_a_few_are_shown():
    assert some("abcde") == "a, b, c, d, e"
    assert some(map(str, range(1_205))) == "0, 1, 2, 3, 4 and 1,200 more"


@pytest.mark.parametrize(
    ("word", "meant"), [("minilmm", "minilm"), ("Mistral", "mistral"), ("gpt", ""), ("", "")]
)
def test_only_a_near_word_is_offered(word, meant):
    offered = did_you_mean(word, ("llama2", "mistral", "minilm"))
    assert offered == (f" (did you mean {meant}?)" if meant else "")


def test_a_command_is_quoted_for_the_shell_of_the_system(monkeypatch):
    words = ["lef", "ls", "--cache", "my data's"]
    assert shlex.split(command_line(words)) == words
    monkeypatch.setattr(os, "name", "nt")
    assert command_line(["--chat-template", "<s>{text}</s>"]) == '--chat-template "<s>{text}</s>"'
    assert command_line(words) == 'lef ls --cache "my data\'s"'


@pytest.mark.parametrize(
    "word", ["<s>\n{text}\n", "it's\ta \\n", "\x1b[31m", "\u2028 ☺ é", "a'b\nc"]
)
def test_a_word_of_several_lines_is_one_line_that_bash_reads_back(word):
    line = command_line(["printf", "%s", word])
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True)
    assert done.stdout.decode() == word


def test_what_is_long_is_cut():
    assert (shown("a text"), shown(12), shown(["a"])) == ("a text", "12", "['a']")
    assert shown(int("9" * 4000)) == "9" * 60 + "..."
