"""The flags of a cluster, which mean nothing without one."""

import json
import sys
from contextlib import nullcontext

import click
import pytest
from click.testing import CliRunner

from cli.engine import check_engine, engine_options, rates
from cli.main import main


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


def test_it_is_said_how_fast_workers_are():
    assert rates({}) == ""
    assert rates({"node:1": 46.2}) == "1 worker, 46 rows/s"
    assert rates({"node:1": 46.2, "node:2": 46.4}) == "2 workers, 46 rows/s each"
    assert rates({"node:1": 46.2, "node:2": 1052.4}) == "2 workers, 46..1,052 rows/s each"


@pytest.mark.parametrize(
    ("environment", "flags", "said"),
    [
        ({}, ("--engine", "ray"), "--engine ray has several workers"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, (), "one of 2 processes that torchrun started"),
    ],
)
def test_one_file_for_several_writers_is_refused_before_a_model_is_loaded(
    monkeypatch, tmp_path, environment, flags, said
):
    monkeypatch.setattr("lefcache.extract.load_backbone", None)
    words = ["extract", "--model", "minilm", "--format", "hdf5", "--cache", str(tmp_path / "cache")]
    result = CliRunner().invoke(main, [*words, *flags], env=environment)
    assert result.exit_code == 2
    assert said in result.output
    assert "--to hdf5" in result.output


SAFE = "Every finished block is safe in the cache."


@pytest.mark.parametrize(
    ("environment", "flags", "said"),
    [
        ({}, (), f"\nInterrupted. {SAFE} Go on with:\n  lef extract "),
        ({}, ("--dry-run",), "\nInterrupted. Go on with:\n  lef extract "),
        ({"WORLD_SIZE": "2", "RANK": "0"}, (), f"{SAFE} Go on with, in each rank:\n  lef extract "),
        ({"WORLD_SIZE": "2", "RANK": "1"}, (), ""),
    ],
)
def test_who_interrupts_an_extraction_is_told_once_how_to_go_on(
    monkeypatch, tmp_path, environment, flags, said
):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lefcache.extract.load_backbone", interrupt)
    words = ["extract", "--model", "minilm", "--cache", str(tmp_path / "cache"), *flags]
    monkeypatch.setattr(sys, "argv", ["lef", *words])
    result = CliRunner().invoke(main, words, env=environment)
    assert result.exit_code == 130
    assert said in result.output
    assert ("Interrupted" in result.output) is bool(said)


@pytest.mark.parametrize(("gpus", "device_map"), [("4", "auto"), ("1", "none"), ("0.5", "none")])
def test_a_worker_with_several_gpus_spreads_its_model_over_them(
    monkeypatch, tmp_path, gpus, device_map
):
    loads = []

    def engine(load, cluster):
        loads.append(load)
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.extract._engine", engine)
    monkeypatch.setattr("cli.extract.cluster_of", nullcontext)
    words = ["extract", "--model", "minilm", "--cache", str(tmp_path / "cache")]
    CliRunner().invoke(main, [*words, "--engine", "ray", "--gpus-per-worker", gpus])
    (load,) = loads
    assert load.keywords["device_map"] == device_map
