"""What `lef scale --project` says: bytes and seconds of more texts or a larger model."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cli.output import duration, print_table, size, tell

if TYPE_CHECKING:
    from lefcache import Cache
    from lefcache.study import Projection, Rate

TIMES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
CSV = (
    *("rows", "layers", "width", "parameters", "tokens", "rate", "seconds"),
    *("bytes_float32", "bytes_float16", "bytes_bfloat16"),
)


def read_projects(ctx: click.Context, option: click.Parameter, words: tuple[str, ...]) -> Any:
    """`1000000x33x4096` as numbers."""
    found = [re.fullmatch(r"(\d+)x(\d+)x(\d+)", word.strip()) for word in words]
    for word, match in zip(words, found, strict=True):
        if match is None:
            raise click.BadParameter(
                f"'{word}' is no texts x layers x width such as 1000000x33x4096"
            )
    return [tuple(map(int, match.groups())) for match in found if match]


def read_rate(ctx: click.Context, option: click.Parameter, text: str | None) -> float | None:
    """`200T` as a number."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGTP]?)", text.strip().upper())
    if match is None or not float(match[1]):
        raise click.BadParameter(f"'{text}' is no number of operations a second such as 200T")
    return float(match[1]) * TIMES[match[2]]


def projected(cache: "Cache", options: dict[str, Any]) -> "tuple[list[Projection], Rate | None]":
    """What `--project` asks for, and the rate that this cache knows."""
    from lefcache.study import measured_rate, project

    if not options["project"]:
        return [], None
    rate = measured_rate(cache)
    tokens = options["tokens"] or (rate.tokens_a_text if rate else None)
    flops = options["rate"] or (rate.flops if rate else None)
    made = [project(*each, tokens_a_text=tokens, rate=flops) for each in options["project"]]
    return made, rate


def records(made: "list[Projection]") -> Iterator[dict[str, Any]]:
    """A row of `--csv` for each."""
    for each in made:
        yield each.to_json() | {f"bytes_{name}": count for name, count in each.bytes.items()}


def report_projected(
    made: "list[Projection]", rate: "Rate | None", options: dict[str, Any]
) -> None:
    """The table, the formulas, and where the rate comes from."""
    rows = [
        [
            f"{each.rows:,} x {each.layers} x {each.width:,}",
            f"{each.parameters / 1e9:.2f}" if each.parameters else "unknown",
            size(each.bytes["float16"]),
            size(each.bytes["float32"]),
            "unknown" if each.tokens is None else f"{each.tokens / 1e6:,.1f}",
            "unknown" if each.seconds is None else duration(each.seconds),
        ]
        for each in made
    ]
    columns = ["texts x layers x width", ">billion weights", ">16 bits", ">float32"]
    print_table("projected", [*columns, ">million tokens", ">to extract"], rows)
    tell(
        "Bytes: texts x (layers x width x 2 or 4 + 16), in whole chunks. Seconds: tokens x 2 x "
        "weights / rate, weights 12 x blocks x width squared."
    )
    if options["rate"]:
        tell(f"Rate: {options['rate'] / 1e12:,.3g} Tflop/s, as given.")
        if made[0].tokens is None:
            tell("No extraction of this cache was timed: give --tokens of a text to know the time.")
    elif rate:
        tell(
            f"Rate: {rate.flops / 1e12:,.3g} Tflop/s, that of {rate.model} over {rate.corpus} on "
            f"the machine that extracted it ({rate.tokens:,} tokens in {duration(rate.seconds)}); "
            "another one's is given with --rate."
        )
    else:
        tell(
            "No extraction of this cache was timed: give --rate, such as 200T, and --tokens of a "
            "text to know the time."
        )
