"""`lef completion`: the script with which a shell completes commands, flags, models and layers."""

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from cli.main import COMPLETE, main


@add_completion_class
class Bash(BashComplete):
    """click's, for a shell that takes `minilm:4` and `mine=./folder` for several words each.

    bash cuts words at ':' and '=' and replaces only the last piece, so the line itself is read,
    and what stands before that piece is left out of the answer.
    """

    source_template = BashComplete.source_template.replace(
        'COMP_WORDS="',
        'COMP_LINE="$COMP_LINE" COMP_POINT=$COMP_POINT COMP_WORDBREAKS="$COMP_WORDBREAKS" '
        'COMP_WORDS="',
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being typed, and that one."""
        until = int(os.environ["COMP_POINT"])  # in bytes
        line = os.fsencode(os.environ["COMP_LINE"])[:until].decode(errors="ignore")
        words = split_arg_string(line)[1:]
        typed = words.pop() if words and not line[-1].isspace() else ""
        return words, typed

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """The pieces that bash is to put in the place of the last one."""
        flag, equals, value = incomplete.partition("=")
        word = value if flag.startswith("--") and equals else incomplete
        breaks = set(os.environ.get("COMP_WORDBREAKS", ":=")) & set(":=@")
        cut = max((word.rfind(each) for each in breaks), default=-1) + 1
        found = super().get_completions(args, incomplete)
        return [CompletionItem(each.value[cut:], each.type, each.help) for each in found]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a script for your shell; with it, Tab completes commands, flags, models and layers.

    \b
    Examples:
      echo 'eval "$(lef completion bash)"' >> ~/.bashrc     then open a new shell
      echo 'eval "$(lef completion zsh)"' >> ~/.zshrc       the same for zsh
      lef completion fish > ~/.config/fish/completions/lef.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # click knows all of the choices
    click.echo(found(main, {}, "lef", COMPLETE).source())
