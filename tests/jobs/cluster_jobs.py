"""Jobs for a cluster's workers, which import them from here."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from lefcache.errors import FeatureError
from lefcache.rows import Table
from lefcache.study.probes import Probed, Setup, ridge_probe


def counting(job: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Each number of a range, a moment apart, and the process that counts."""
    for number in range(*job):
        time.sleep(0.1)
        yield number, os.getpid()


def doubled(job: tuple[int, ...]) -> Iterator[int]:
    """An iterator that is no generator."""
    return map((2).__mul__, job)


def failing(job: str) -> Iterator[str]:
    """What goes wrong in one way or another."""
    if job == "misspelt":
        raise FeatureError("no such feature")
    if job == "odd":
        raise ValueError("odd")
    if job == "ends":
        os._exit(3)
    yield job


def failing_once(job: str) -> Iterator[str]:
    """Fails until a file is there, which it leaves."""
    if not Path(job).exists():
        Path(job).touch()
        raise OSError("the server is not at home")
    yield "done"


def ending_once(job: str) -> Iterator[str]:
    """Ends its worker at x."""
    if job == "x":
        os._exit(3)
    yield job


def dies_once(file: str, table: Table, validation: Table | None, setup: Setup) -> Probed:
    """The probe of ridge, but the first worker that gets to the third layer ends there."""
    if str(table.features[0]).endswith(":2") and not Path(file).exists():
        Path(file).touch()
        os._exit(9)
    return ridge_probe(table, validation, setup)
