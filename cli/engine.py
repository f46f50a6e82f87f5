"""Commands whose work a Ray cluster can share: their flags, and the engine that these name."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from cli.output import say
from cli.params import Command, flag_of
from lefcache.wording import count

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.cluster import Cluster
    from lefcache.study import Engine

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


@contextmanager
def cluster_of(options: Mapping[str, Any]) -> "Iterator[Cluster | None]":
    """The cluster that these flags ask for, for as long as it is used; None for none."""
    if options["engine"] == "local":
        yield None
        return
    from lefcache.cluster import Cluster

    with Cluster(
        options["address"],
        workers=options["workers"],
        gpus_per_worker=options["gpus_per_worker"],
    ) as cluster:
        made = cluster.workers
        gpus = f" and {made.gpus:g} GPU" if made.gpus else ""
        size = f"{count(made.cpus, 'core')}{gpus}" + (" each" if made.number > 1 else "")
        now = cluster.fitting
        wait = f"; there is room for {now} of them now" if now < made.number else ""
        say(f"{count(made.number, 'worker')} of a Ray cluster, with {size}{wait}")
        yield cluster


def engine_of(options: Mapping[str, Any], cache: "Cache") -> "Engine":
    """Who does the work of a study, until the command's end."""
    from lefcache.study import HERE, Spread

    cluster = click.get_current_context().with_resource(cluster_of(options))
    if cluster is None:
        return HERE
    return Spread(cluster, cache, on_note=lambda line: say(f"  note: {line}"))


def speaker() -> Callable[[str], None]:
    """What says a line to who watches: nothing, in a rank that is not the first one."""
    if "RANK" not in os.environ:
        return say
    from lefcache.extract import engine_here

    return say if engine_here().leads else lambda _: None


def rates(workers: Mapping[str, float]) -> str:
    """How fast workers are, in a few words however many there are."""
    if not workers:
        return ""
    slow, fast = min(workers.values()), max(workers.values())
    speed = f"{slow:,.0f}" if f"{slow:,.0f}" == f"{fast:,.0f}" else f"{slow:,.0f}..{fast:,.0f}"
    each = " each" if len(workers) > 1 else ""
    return f"{count(len(workers), 'worker')}, {speed} rows/s{each}"


def check_engine(options: Mapping[str, Any]) -> None:
    """Refuse flags of a cluster where there is none."""
    flags = [flag_of(name) for name in OF_A_CLUSTER if options[name] is not None]
    if flags and options["engine"] != "ray":
        raise click.UsageError(f"{', '.join(flags)}: for --engine ray")
