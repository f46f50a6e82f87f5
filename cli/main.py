"""The command `lef` and its subcommands, each imported only when it is needed."""

import os
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import click

from cli.signals import stoppable
from lefcache.errors import LefError
from lefcache.version import __version__
from lefcache.wording import did_you_mean

# In the order in which one uses them; each lives in `cli/<name>.py` as `command`. What each is for
# stands here, so that the list of them imports none.
COMMANDS = {
    "extract": "Run a frozen model once; keep every layer.",
    "import": "Bring your own vectors: embeddings made elsewhere.",
    "ls": "List what is in the cache.",
    "show": "Show what one entry was made from.",
    "convert": "Keep what is in the cache as Zarr or as HDF5.",
    "verify": "Compare every byte with its checksum; repair what is damaged.",
    "rm": "Remove a corpus, model, split, pooling or layer.",
    "push": "Share what is in the cache on the Hugging Face hub.",
    "pull": "Bring layers from an object store or the hub to this disk.",
    "sweep": "Judge every layer; choose one without the test.",
    "select": "Choose a layer without training a head on each.",
    "fuse": "Train one head on several features together.",
    "pairs": "Predict which two features complement each other.",
    "scale": "Add models one at a time; say which pay and what they cost.",
    "transfer": "Try one corpus's layer, and its head, on another.",
    "compare": "Say whether one result is better than another.",
    "results": "List the finished studies and their ids.",
    "report": "Write all of it as one page that opens offline.",
    "predict": "Label raw texts with a saved head.",
    "models": "List the models that have a short name.",
    "doctor": "Examine a model: are its vectors what they should be?",
    "data": "List the data sets that have a short name.",
    "completion": "Print the script that completes words in your shell.",
}
KEYWORDS = ("import",)  # of Python: what no module can be called gets a `_` behind it

COMPLETE = "_LEF_COMPLETE"  # the variable with which a shell asks what a word may become

EPILOG = """\b
First steps, with nothing to download:
  lef extract --data demo --model minilm   every layer of MiniLM over the bundled demo texts
  lef sweep --data demo --models minilm    which layer is best?
  lef fuse --data demo --models minilm:3,minilm:last --op hadamard-res
"""


class Commands(click.Group):
    """Subcommands by name; a LefError ends any of them with one line and exit code 1."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the words of the command line, or complete them where a shell asks for that."""
        for stream in (sys.stdout, sys.stderr):
            # A console that knows no bars of blocks shows question marks, not a traceback.
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        if COMPLETE in os.environ:
            import_module("cli.completion")  # it tells click how bash cuts words
        extra.setdefault("complete_var", COMPLETE)
        return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one that is asked for."""
        if cmd_name not in COMMANDS:
            return None
        module = f"cli.{cmd_name}{'_' * (cmd_name in KEYWORDS)}"
        command: click.Command = import_module(module).command
        command.short_help = COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands and what each is for."""
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; a misspelt one is told what it is near to."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = did_you_mean(name, COMMANDS)
            ctx.fail(f"No such command '{name}'{near}: there are {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; a mistake or Ctrl-C is a line on stderr, never a traceback."""
        try:
            with stoppable():
                return super().invoke(ctx)
        except LefError as error:
            from cli.output import say

            say(f"Error: {error}")
            ctx.exit(1)
        except click.UsageError as error:
            from cli.visible import visible_lines

            told = error.format_message().expandtabs(2)  # click's own, before its lists
            raise click.UsageError(visible_lines(told), error.ctx) from error
        except KeyboardInterrupt as error:
            from cli.output import interrupted

            interrupted(
                error, "; nothing is left half-written, and a study goes on where it was. Again: "
            )


@click.command(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="lef")
def main() -> None:
    """Run each frozen language model once; keep every layer; learn everything else from the pages.

    Stage 1 is `lef extract`. Stage 2 (sweep, fuse) reads what it left and never loads a model;
    `lef predict` loads what a saved head needs for texts that are new.
    """


if __name__ == "__main__":
    main()
