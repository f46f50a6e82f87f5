"""`lef convert KEY --to FORMAT`: the other file format for what is in the cache."""

import click

from cli.candidates import keys
from cli.output import print_json, say, tell
from cli.params import cache_option, json_option
from lefcache.spec import FORMATS
from lefcache.wording import count


@click.command("convert")
@click.argument("key", shell_complete=keys)
@click.option("--to", "format", type=click.Choice(FORMATS), required=True, help="The format.")
@cache_option
@json_option
def command(key: str, format: str, cache: str, as_json: bool) -> None:
    """Keep a split (sst2/mistral/train), a model (sst2/mistral) or a corpus in another format.

    Zarr is a folder for each split, HDF5 one file. The numbers are the same, checked while they
    are copied; the old files are deleted once the copy is whole, so it takes the room of both for
    the largest split.

    \b
    Examples:
      lef convert demo/minilm/train --to hdf5
      lef convert sst2/mistral --to zarr
    """
    import lefcache

    opened = lefcache.open(cache)
    splits = [pages.path for pages in opened.below(key)]
    done = []
    for path in splits:
        say(f"{path}: to {format}")
        if opened.convert(path, format):
            done.append(path)
    if as_json:
        print_json({"converted": done, "kept": [path for path in splits if path not in done]})
    else:
        tell(f"{count(len(done), 'split')} converted to {format}")
