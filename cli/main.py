"""The command `lef` and its subcommands, each imported only when it is needed."""

from importlib import import_module

import click

from lefcache.errors import LefError
from lefcache.version import __version__

# In the order in which one uses them; each lives in `cli/<name>.py` as `command`.
COMMANDS = ("extract", "ls", "show", "sweep", "fuse")

EPILOG = """\b
First steps, with nothing to download:
  lef extract --model minilm          every layer of MiniLM over the bundled demo texts
  lef sweep --models minilm           which layer is best?
  lef fuse --models minilm:3,minilm:last --op hadamard-res
"""


class Commands(click.Group):
    """Subcommands by name; a LefError ends any of them with one line and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one that is asked for."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand; a user's mistake is one line on stderr, never a traceback."""
        try:
            return super().invoke(ctx)
        except LefError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(1)


@click.command(
    cls=Commands,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="lef")
def main() -> None:
    """Run each frozen language model once; keep every layer; learn everything else from the pages.

    Stage 1 is `lef extract`; everything else reads what it left and never loads a model again.
    """


if __name__ == "__main__":
    main()
