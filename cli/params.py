"""Flags that several commands share, and flags made from a dataclass of settings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from cli.candidates import DAMAGE, corpora, features
from lefcache.recipe import Recipe
from lefcache.wording import did_you_mean

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_CACHE = "lef-cache"

cache_option = click.option(
    "--cache",
    envvar="LEF_CACHE",
    default=DEFAULT_CACHE,
    show_default=True,
    help="The cache folder, or s3://BUCKET/FOLDER (or $LEF_CACHE).",
)
data_option = click.option(
    "--data",
    envvar="LEF_DATA",
    shell_complete=corpora,
    help="The corpus: its name in the cache, a folder with train.tsv|csv|jsonl|parquet and so on, "
    "a short name (`lef data`), a hub id, or NAME= and one of these (or $LEF_DATA; default: the "
    "only one in the cache, else demo).",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else."
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."
)

protocol_option = click.option(
    "--protocol",
    type=click.Choice(["validation", "paper"]),
    default="validation",
    show_default=True,
    help="What may choose: rows that are no test; or, as the method's source does, the test itself "
    "(labelled so wherever its figures are shown).",
)

per_class_option = click.option(
    "--per-class", is_flag=True, help="Precision, recall, F1 and n of each class on the test."
)


class Features(click.types.StringParamType):
    """A list of models and layers; who leaves it out is shown one of the own cache."""

    def get_missing_message(
        self, param: click.Parameter, ctx: click.Context | None = None
    ) -> str | None:
        """An example, or nothing where the cache cannot be read."""
        from cli.following import example

        if ctx is None:
            return None
        try:
            return example(ctx.info_name or "", ctx.params.get("cache"), ctx.params.get("data"))
        except DAMAGE:
            return None


UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def _bytes(ctx: click.Context, option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)B?", text.strip().upper())
    if match is None or not float(match[1]):
        raise click.BadParameter(f"'{text}' is no size such as 4GB")
    return int(float(match[1]) * UNITS[match[2]])


probe_option = click.option(
    "--probe",
    type=click.Choice(["ridge", "logistic", "mlp"]),
    default="ridge",
    show_default=True,
    help="ridge: closed form, seconds; logistic: logistic regression to convergence; mlp: the "
    "method's own head.",
)
memory_option = click.option(
    "--memory",
    callback=_bytes,
    help="What heads and layers that train together may take, for example 4GB  [default: most of "
    "what is free]",
)


def form_options(command: Command) -> Command:
    """The flags `--json` and `--csv` of a command that prints a table; the value is `form`."""
    for form, what in (("csv", "comma-separated rows"), ("json", "one JSON document")):
        command = click.option(
            f"--{form}",
            is_flag=True,
            expose_value=False,
            callback=_choose_form,
            help=f"Print {what} on stdout, nothing else.",
        )(command)
    return command


def _choose_form(ctx: click.Context, option: click.Parameter, chosen: bool) -> None:
    form = ctx.params.setdefault("form", "table")
    if chosen and form != "table":
        raise click.UsageError("--json and --csv exclude each other")
    if chosen:
        ctx.params["form"] = option.name


class Several(click.ParamType[tuple[str, ...]]):
    """Names separated by commas, each one of the choices; `all` is all of them."""

    name = "names"

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = choices

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The choices, as click shows those of one name."""
        return f"[{'|'.join(self.choices)}|all],..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Read the list; a usage error names what is no choice."""
        names = [name for name in str(value).replace(" ", "").split(",") if name]
        if names == ["all"]:
            return ("all",)
        if "all" in names:
            self.fail("all goes alone: give it, or names", param, ctx)
        for name in names:
            if name not in self.choices:
                near = did_you_mean(name, self.choices)
                known = ", ".join(self.choices)
                self.fail(f"'{name}' is not one of {known}, all{near}", param, ctx)
        return tuple(dict.fromkeys(names)) or self.fail("names nothing", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """The choices after what is written already."""
        written, comma, word = incomplete.rpartition(",")
        found = [f"{written}{comma}{each}" for each in self.choices if each.startswith(word)]
        return [CompletionItem(each) for each in found]


def models_option(help: str, required: bool = True) -> Callable[[Command], Command]:
    """The flag `--models`: features of the cache, which the shell completes."""
    return click.option(
        "--models", type=Features(), required=required, shell_complete=features, help=help
    )


def study_options(
    models_help: str,
    seeds_help: str,
    *own: Callable[[Any], Any],
    several: Sequence[str] = (),
) -> Callable[[Command], Command]:
    """The flags of every command that trains heads on features of the cache, and its own ones.

    Settings named in `several` take a list of their choices.
    """
    options: tuple[Callable[[Any], Any], ...] = (
        models_option(models_help),
        data_option,
        click.option(
            "--seeds", type=click.IntRange(1), default=1, show_default=True, help=seeds_help
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="The first seed."),
        *own,
        protocol_option,
        click.option(
            "--n-train",
            metavar="SIZES",
            help="Learn from fewer rows: numbers and all, as in 100,1000,all. Each size is part of "
            "the next, and the same rows for every study.",
        ),
        click.option(
            "--baselines/--no-baselines",
            default=True,
            show_default=True,
            help="Majority, tf-idf + logistic regression, layer 0, last layer, fixed depth 0.6.",
        ),
        per_class_option,
        settings_options(Recipe, several),
        cache_option,
        device_option,
        form_options,
    )

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def settings_options(
    settings: type, several: Sequence[str] = (), **usual: Any
) -> Callable[[Command], Command]:
    """A flag for each field of a settings dataclass that has a help text.

    A flag that is not given is None, so that a default can come from elsewhere (a model's own
    prompt); `given` picks the ones that were. Those named in `several` take a list of choices.
    `usual` has the defaults of a command that are not those of the dataclass.
    """

    def decorate(command: Command) -> Command:
        for each in reversed(fields(settings)):
            if each.metadata:
                default = each.metadata["usual"] if each.default is None else each.default
                flag = _flag(each, each.name in several, usual.get(each.name, default))
                command = flag(command)
        return command

    return decorate


def given(settings: type, values: dict[str, Any]) -> dict[str, Any]:
    """The settings among a command's values that the user gave."""
    names = [each.name for each in fields(settings) if each.metadata]
    return {name: values[name] for name in names if values[name] is not None}


def probe_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The recipe's settings among a command's values, which the probe `mlp` alone has."""
    settings, probe = given(Recipe, values), values["probe"]
    if settings and probe != "mlp":
        flags = ", ".join(map(flag_of, settings))
        raise click.UsageError(f"{flags}: for --probe mlp; --probe {probe} has no such settings")
    return settings


def spelled(values: Mapping[str, Any]) -> list[str]:
    """Settings as the flags that give them again."""
    words = []
    for name, value in values.items():
        flag = flag_of(name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [flag, text]
    return words


def flag_of(name: str) -> str:
    """The flag of a setting."""
    return f"--{name.replace('_', '-')}"


def _flag(each: Field[Any], several: bool, usual: Any) -> Callable[[Command], Command]:
    choices, bare = each.metadata["choices"], each.metadata["bare"]
    kind: Any = type(usual)
    flag = flag_of(each.name)
    if kind is bool:
        flag, usual = f"{flag}/--no-{flag[2:]}", "yes" if usual else "no"
    if choices:
        kind = Several(choices) if several else click.Choice(choices)
    elif isinstance(usual, tuple):
        kind = _numbers(type(usual[0]))
        usual = ",".join(str(number) for number in usual)
    shown = str(usual) if usual != "" else "none"
    return click.option(
        flag,
        each.name,
        type=kind,
        default=None,
        **({"is_flag": False, "flag_value": bare} if bare else {}),
        help=f"{each.metadata['help']}  [default: {shown}]",
    )


def _numbers(kind: type) -> Callable[[str], tuple[Any, ...]]:
    """A reader of `1024,256`; an empty string is no numbers at all."""

    def numbers(text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(number) for number in text.split(",") if number)
        except ValueError as error:
            raise click.BadParameter(f"'{text}' is no list such as 1024,256") from error

    return numbers
