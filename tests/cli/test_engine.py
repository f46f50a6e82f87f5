"""The flags of a cluster, which mean nothing without one."""

import json

import click
import pytest
from click.testing import CliRunner

from cli.engine import check_engine, engine_options


@pytest.fixture
def call():
    @click.command()
    @engine_options
    def command(**options):
        check_engine(options)
        click.echo(json.dumps(options))

    return lambda *words: CliRunner().invoke(command, words)


def test_a_cluster_is_asked_for(call):
    flags = ("--address", "auto", "--workers", "2", "--gpus-per-worker", "0.5")
    told = call("--engine", "ray", *flags).output
    wanted = {"engine": "ray", "address": "auto", "workers": 2, "gpus_per_worker": 0.5}
    assert json.loads(told) == wanted


def test_nobody_has_to_ask_for_this_process(call):
    assert json.loads(call().output)["engine"] == "local"


@pytest.mark.parametrize(
    "flags", [("--address", "auto"), ("--workers", "2"), ("--gpus-per-worker", "1")]
)
def test_what_only_a_cluster_has_is_refused_without_one(call, flags):
    result = call(*flags)
    assert result.exit_code == 2
    assert f"{flags[0]}: for --engine ray" in result.output
