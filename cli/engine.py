"""Flags of the commands whose work a Ray cluster can share."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from cli.params import Command, flag_of

OF_A_CLUSTER = ("address", "workers", "gpus_per_worker")


def engine_options(command: Command) -> Command:
    """The flags `--engine`, `--address`, `--workers` and `--gpus-per-worker`."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Who does the work: this process, or the workers of a Ray cluster.",
        ),
        click.option(
            "--address",
            help="Of a running Ray cluster: auto (that of this machine) or HOST:6379  [default: "
            "$RAY_ADDRESS, or else workers on this machine alone]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1),
            help="How many workers  [default: one for each GPU, without GPUs one a node]",
        ),
        click.option(
            "--gpus-per-worker",
            type=click.FloatRange(0),
            help="GPUs that each worker has to itself  [default: 1 where there are GPUs]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def check_engine(options: Mapping[str, Any]) -> None:
    """Refuse flags of a cluster where there is none."""
    flags = [flag_of(name) for name in OF_A_CLUSTER if options[name] is not None]
    if flags and options["engine"] != "ray":
        raise click.UsageError(f"{', '.join(flags)}: for --engine ray")
